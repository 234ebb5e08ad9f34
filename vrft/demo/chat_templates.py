"""Chat templates of the families, without their options for tools and for numbering pictures."""

from __future__ import annotations

TURN = """\
<|im_start|>{{ message['role'] }}\n\
{% if message['content'] is string %}{{ message['content'] }}\
{% else %}{% for content in message['content'] %}\
{% if content['type'] == 'image' or 'image' in content or 'image_url' in content %}\
<|vision_start|><|image_pad|><|vision_end|>\
{% elif content['type'] == 'video' or 'video' in content %}\
<|vision_start|><|video_pad|><|vision_end|>\
{% elif 'text' in content %}{{ content['text'] }}\
{% endif %}{% endfor %}{% endif %}<|im_end|>\n\
"""
"""A turn with pictures in their places."""

QWEN2_VL = f"""\
{{% for message in messages %}}\
{{% if loop.first and message['role'] != 'system' %}}\
<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n\
{{% endif %}}\
{TURN}\
{{% endfor %}}\
{{% if add_generation_prompt %}}<|im_start|>assistant\n{{% endif %}}\
"""
"""Qwen2-VL and Qwen2.5-VL: a default system turn, and pictures in their places."""

QWEN3_VL = f"""\
{{% for message in messages %}}\
{TURN}\
{{% endfor %}}\
{{% if add_generation_prompt %}}<|im_start|>assistant\n{{% endif %}}\
"""
"""Qwen3-VL's instruct models and Qwen3: no system turn but the conversation's own."""

QWEN3_5 = f"""\
{{% for message in messages %}}\
{TURN}\
{{% endfor %}}\
{{% if add_generation_prompt %}}<|im_start|>assistant\n\
{{% if enable_thinking is defined and enable_thinking is false %}}<think>\n\n</think>\n\n\
{{% else %}}<think>\n{{% endif %}}{{% endif %}}\
"""
"""Qwen3.5: the answer begins within its thoughts, unless ``enable_thinking`` is false."""
