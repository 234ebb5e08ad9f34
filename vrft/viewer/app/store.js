"use strict";

// The documents of the site. Each is a script that calls vrft.receive(name, content), as a page
// opened from disk may load scripts of its folder but not fetch its files. One that cannot be read
// calls vrft.refuse(name, reason).

const vrft = {};

vrft.documents = new Map();  // name -> promise of its content
vrft.waiting = new Map();    // name -> the functions that keep and break the promise

// A document that is not there, with the reason: shown on the page, and no fault of its scripts.
vrft.Missing = class extends Error {};

vrft.receive = (name, content) => {
  const [resolve] = vrft.waiting.get(name) ?? [];
  vrft.waiting.delete(name);
  if (resolve) resolve(content);
};

vrft.refuse = (name, reason) => {
  const [, reject] = vrft.waiting.get(name) ?? [];
  vrft.waiting.delete(name);
  vrft.documents.delete(name);  // asked for again, it may be there
  if (reject) reject(new vrft.Missing(reason));
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
      reject(new vrft.Missing(`data/${name}.js cannot be loaded: is the server still running?`));
    };
    vrft.waiting.set(name, [resolve, reject]);
    document.head.append(script);
  });
  vrft.documents.set(name, promise);
  return promise;
};
