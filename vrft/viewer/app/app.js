"use strict";

// Tabs, addresses, keys and the theme. An address is #VIEW/REST: #e0/17 is an answer,
// #r0/step/12/3 a group of a step.

vrft.CURVES = { id: "curves", kind: "curves", title: "Curves" };

vrft.PAGES = {
  curves: vrft.curvesPage, run: vrft.rolloutsPage, answers: vrft.answersPage,
  unreadable: vrft.unreadablePage, comparison: vrft.comparisonPage,
};

vrft.NAMES = {
  run: "Rollouts", answers: "Answers", unreadable: "Unreadable", comparison: "Compare", curves: "",
};

vrft.go = (...parts) => { location.hash = parts.map(encodeURIComponent).join("/"); };

vrft.back = () => vrft.go(vrft.view.id);

vrft.move = (by) => vrft.page?.list?.move(by);

// All comparisons have one tab: that of the first, on whose page another is chosen.
vrft.tabs = () => {
  const compared = vrft.comparisons()[0];
  return vrft.catalogue.views.filter((view) => (view.kind === "run" ? view.logged
    : view.kind !== "comparison" || view === compared));
};

vrft.comparisons = () => vrft.catalogue.views.filter((view) => view.kind === "comparison");

// Show the view of the address. Of two that were opened one after the other, the first may come
// last: a page asks whether its view is still wanted before it shows itself.
vrft.draw = async () => {
  const [id, ...rest] = location.hash.slice(1).split("/").map(decodeURIComponent);
  const views = [...vrft.tabs(), ...vrft.comparisons()];
  const of = (name) => views.find((other) => other.id === name);
  if (id && !of(id) && vrft.view) return;  // an address of nothing leaves what is shown
  const view = of(id) ?? of(vrft.catalogue.start) ?? views[0];
  const main = document.getElementById("main");
  document.body.dataset.open = rest.length ? "detail" : "list";
  for (const link of document.querySelectorAll("#tabs a")) {
    const current = link.dataset.view === view.id
      || (view.kind === "comparison" && link.dataset.kind === "comparison");
    link.setAttribute("aria-current", current ? "page" : "false");
    if (current) link.scrollIntoView({ block: "nearest", inline: "nearest" });
  }
  try {
    if (vrft.view === view && vrft.page) await vrft.page.show(rest);
    else {
      vrft.view = view;
      vrft.page = null;
      const place = view.kind === "run" ? (rest.length ? rest : undefined) : rest[0];
      await vrft.PAGES[view.kind](view, place, main);
    }
  } catch (error) {
    if (vrft.view === view) {
      main.replaceChildren(vrft.el("p", { class: "error", role: "alert" }, error.message));
      vrft.view = null;
    }
    if (!(error instanceof vrft.Missing)) throw error;
  }
};

vrft.theme = (next) => {
  const dark = next ?? document.documentElement.dataset.theme !== "dark";
  document.documentElement.dataset.theme = dark ? "dark" : "light";
  document.getElementById("theme").textContent = dark ? "Light" : "Dark";
  try { localStorage.setItem("vrft-theme", dark ? "dark" : "light"); } catch { /* private window */ }
  vrft.page?.refresh?.();
};

vrft.KEYS = {
  j: () => vrft.move(1), k: () => vrft.move(-1), ArrowDown: () => vrft.move(1),
  ArrowUp: () => vrft.move(-1), ArrowLeft: () => vrft.page?.turn?.(-1),
  ArrowRight: () => vrft.page?.turn?.(1),
  "/": () => document.getElementById("search")?.focus(),
  f: () => document.querySelector("#filters select, #filters input")?.focus(),
  b: () => vrft.toggleBoxes(), t: () => vrft.theme(),
  p: () => document.querySelector(".tokenlegend input")?.click(),
  "+": () => document.querySelector("figure")?.zoom?.by(1.5),
  "-": () => document.querySelector("figure")?.zoom?.by(1 / 1.5),
  0: () => document.querySelector("figure")?.zoom?.reset(),
  "?": () => document.getElementById("keys").showModal(),
  Escape: () => vrft.back(),
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  if (event.target.closest("input, select, textarea")) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  const tab = /^[1-9]$/.test(event.key) && vrft.tabs()[Number(event.key) - 1];
  const act = tab ? () => vrft.go(tab.id) : vrft.KEYS[event.key];
  if (!act) return;
  event.preventDefault();
  act();
});

vrft.start = async () => {
  let saved = null;
  try { saved = localStorage.getItem("vrft-theme"); } catch { /* private window */ }
  vrft.theme(saved ? saved === "dark" : matchMedia("(prefers-color-scheme: dark)").matches);
  document.getElementById("theme").addEventListener("click", () => vrft.theme());
  document.getElementById("help").addEventListener("click", vrft.KEYS["?"]);
  document.querySelector(".skip").addEventListener("click", (event) => {
    event.preventDefault();  // its address is none of a view
    document.getElementById("main").focus();
  });
  try {
    vrft.catalogue = await vrft.load("catalogue");
  } catch (error) {
    document.getElementById("main").textContent = error.message;
    return;
  }
  if (vrft.catalogue.views.some((view) => view.kind === "run")) {
    vrft.catalogue.views.unshift(vrft.CURVES);
  }
  document.title = `${vrft.catalogue.title} · vrft`;
  document.getElementById("title").textContent = vrft.catalogue.title;
  document.getElementById("tabs").replaceChildren(...vrft.tabs().map((view) =>
    vrft.el("a", { href: `#${view.id}`, "data-view": view.id, "data-kind": view.kind },
      vrft.NAMES[view.kind] ? vrft.el("span", { class: "kind" }, vrft.NAMES[view.kind]) : null,
      view.kind === "comparison" && vrft.comparisons().length > 1
        ? ` ${vrft.comparisons().length} pairs` : ` ${view.title}`)));
  window.addEventListener("hashchange", vrft.draw);
  await vrft.draw();
  if (vrft.catalogue.live) setInterval(() => vrft.page?.refresh?.(), 2000);
};

vrft.start();
