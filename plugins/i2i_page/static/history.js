/** What was made earlier in this session, to come back to. Nothing is kept after the page is closed. */
import { $, make, showBlob } from "./dom.js";

const MOST = 24;

/**
 * @typedef {object} Kept
 * @property {Blob} blob  the result
 * @property {string} label  what a person reads of it
 * @property {object} model  @property {object} direction  @property {object} snapshot  @property {object} values
 */
export class History {
  /** @param {(kept: Kept) => void} restore */
  constructor(restore) {
    this.restore = restore;
    this.last = null;
  }

  /** @param {Kept} kept */
  add(kept) {
    if (this.last === kept.blob) return;
    this.last = kept.blob;
    const image = make("img", { alt: "" });
    showBlob(image, kept.blob);
    const words = `${kept.label}. Bring back this input and its settings.`;
    const button = make("button", { class: "thumb", "aria-label": words, title: words }, image);
    button.addEventListener("click", () => this.restore(kept));
    $("history-list").prepend(make("li", {}, button));
    for (const item of [...$("history-list").children].slice(MOST)) {
      showBlob(item.querySelector("img"), null);
      item.remove();
    }
    $("history").hidden = false;
  }
}
