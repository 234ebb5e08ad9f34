"use strict";

// The documents of the site. Each is a script that calls vrft.receive(name, content), as a page
// opened from disk may load scripts of its folder but not fetch its files.

const vrft = {};

vrft.documents = new Map();  // name -> promise of its content
vrft.waiting = new Map();    // name -> the function that keeps the promise

vrft.receive = (name, content) => {
  const resolve = vrft.waiting.get(name);
  vrft.waiting.delete(name);
  if (resolve) resolve(content);
};

// Return a promise of a document, which is loaded once, or again where `fresh` asks for it.
vrft.load = (name, fresh = false) => {
  if (!fresh && vrft.documents.has(name)) return vrft.documents.get(name);
  const promise = new Promise((resolve, reject) => {
    const script = document.createElement("script");
    const query = fresh && location.protocol !== "file:" ? `?${Date.now()}` : "";
    script.src = `data/${name}.js${query}`;
    script.onload = () => script.remove();
    script.onerror = () => {
      script.remove();
      vrft.waiting.delete(name);
      vrft.documents.delete(name);
      reject(new Error(`data/${name}.js cannot be loaded: is the server still running?`));
    };
    vrft.waiting.set(name, resolve);
    document.head.append(script);
  });
  vrft.documents.set(name, promise);
  return promise;
};
