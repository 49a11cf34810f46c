/** What a model is: what is known of it, its card, and the statement in its pictures. */
import { $, make } from "./dom.js";
import { rendered } from "./markdown.js";

/** @param {object} model  an entry of the description */
export function showAbout(model) {
  $("about-title").textContent = model.title;
  $("about-content").replaceChildren(facts(model), domains(model), card(model), provenance(model));
  $("about-dialog").showModal();
  $("about-content").scrollTop = 0;
}

/** The buttons that close a dialog, and a click beside it. */
export function wireDialogs() {
  for (const button of document.querySelectorAll("[data-close]")) {
    button.addEventListener("click", () => button.closest("dialog").close());
  }
  for (const dialog of document.querySelectorAll("dialog")) {
    dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  }
}

function facts({ facts: rows }) {
  const list = make("dl", { class: "facts" });
  for (const [name, text] of rows) list.append(make("dt", { text: name }), make("dd", { text }));
  return list;
}

function domains({ domains: all }) {
  const list = make("ul");
  for (const domain of Object.values(all)) list.append(make("li", { text: `${domain.name}: ${told(domain)}` }));
  return make("div", {}, make("h3", { text: "What it takes and gives" }), list);
}

function told({ kind, channels, classes, size }) {
  const at = size ? `, trained at ${size[1]} × ${size[0]}` : "";
  if (kind === "labels") return `label maps of ${classes.length} classes${at}`;
  return `pictures of ${channels} ${channels === 1 ? "channel" : "channels"}${at}`;
}

function card({ card: text }) {
  if (!text.trim()) return make("p", { class: "soft", text: "The model has no card." });
  const inner = make("div", { class: "card" });
  inner.append(rendered(text));
  return make("details", { open: true }, make("summary", { text: "Model card" }), inner);
}

function provenance({ provenance: packet }) {
  const words =
    "Every picture that you download says in its metadata that a trained algorithm made it, which model, and of which " +
    "recipe. Other programs can read the statement; “i2i inspect” shows it.";
  const code = make("pre", { tabIndex: 0, "aria-label": "The statement" }, make("code", { text: packet }));
  return make("details", {}, make("summary", { text: "The statement in its pictures" }), make("p", { text: words }), code);
}
