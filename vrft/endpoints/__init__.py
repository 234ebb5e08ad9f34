"""Models behind a server with OpenAI's protocol: requests, answers, batches."""
