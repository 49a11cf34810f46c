/** The values beside the picture: the seed, the styles and their mix, the strength. */
import { $, icon, make, showBlob } from "./dom.js";
import { thumbnails } from "./sources.js";

export const LARGEST_SEED = 2 ** 31 - 1;

/** @typedef {{seed: number, strength: number, mix: number, styles: (Blob|null)[], ownSize: boolean}} Values */
export class Settings {
  /**
   * @param {object} tell
   * @param {() => void} tell.changed  another result is wanted
   * @param {() => void} tell.styled  the same, and the seed may have an effect or none any more
   * @param {() => void} tell.blended  only the strength is another
   * @param {(url: string) => Promise<Blob>} fetchSample
   */
  constructor(tell, fetchSample) {
    this.tell = tell;
    this.fetchSample = fetchSample;
    this.styles = [null, null];
    this.#wire();
  }

  open(model, direction) {
    Object.assign(this, { model, direction });
    this.#show();
  }

  /** @returns {Values}  those that the model does not know are as if they were not there */
  get values() {
    const { style, mix, scales } = this.model;
    const styles = style ? this.styles.slice(0, mix ? 2 : 1) : [];
    const [first = null, second = null] = styles.filter(Boolean);
    return {
      seed: this.seeded ? this.seed : 0,
      strength: this.direction.blends ? Number($("strength").value) / 100 : 1,
      mix: Number($("mix").value) / 100,
      styles: [first, second],
      ownSize: scales && $("own-size").checked,
    };
  }

  /** Whether the seed has an effect: a style picture takes the place of the drawn style. */
  get seeded() {
    return this.model.draws && !(this.model.style && this.styles[0]);
  }

  get seed() {
    const found = Math.round(Number($("seed").value));
    return Number.isFinite(found) ? Math.min(Math.max(found, 0), LARGEST_SEED) : 0;
  }

  set seed(value) {
    $("seed").value = String(value);
  }

  /** @param {Values} values */
  restore({ seed, strength, mix, styles, ownSize }) {
    this.seed = seed;
    $("strength").value = String(Math.round(strength * 100));
    $("mix").value = String(Math.round(mix * 100));
    $("own-size").checked = ownSize;
    this.styles = [...styles];
    this.#show();
  }

  #show() {
    const { style, mix } = this.model;
    const both = mix && this.styles[0] && this.styles[1];
    $("seed-field").hidden = !this.seeded;
    $("strength-field").hidden = !this.direction.blends;
    $("mix-field").hidden = !both;
    $("styles").hidden = !style;
    $("strength-told").textContent = `${$("strength").value} %`;
    $("mix-told").textContent = `${$("mix").value} %`;
    const places = mix && this.styles[0] ? [0, 1] : [0];
    const target = this.model.domains[this.direction.target].name;
    for (const image of $("styles").querySelectorAll("img")) showBlob(image, null);
    $("styles").replaceChildren(...(style ? places.map((place) => this.#slot(place, target)) : []));
  }

  #slot(place, target) {
    const name = place ? "Second style" : "Style";
    const file = make("input", { type: "file", accept: "image/*", hidden: true, "aria-label": name });
    file.addEventListener("change", () => file.files[0] && this.#set(place, file.files[0]));
    const image = make("img", { alt: "" });
    const blob = this.styles[place];
    if (blob) showBlob(image, blob);
    const words = `${name}: choose a picture of ${target}`;
    const given = { class: "style", title: words, "aria-label": words, on: { click: () => file.click() } };
    const slot = make(
      "div",
      { class: "slot" },
      make("span", { text: name }),
      make("button", given, blob ? image : icon("upload")),
      file,
    );
    if (blob) slot.append(this.#remover(place, name));
    else slot.append(this.#suggested(place, name));
    return slot;
  }

  #remover(place, name) {
    const off = make("button", { class: "bare", "aria-label": `Remove: ${name}`, title: "Remove" }, icon("close"));
    off.addEventListener("click", () => this.#set(place, null));
    return off;
  }

  /** Pictures of the run whose style one may try. */
  #suggested(place, name) {
    const row = make("div", { class: "samples small" });
    const urls = this.model.samples.filter(({ direction, target }) => direction === this.direction.id && target);
    thumbnails(
      row,
      urls.slice(0, 4).map(({ target }) => target),
      name,
      this.fetchSample,
      (blob) => this.#set(place, blob),
    );
    return row;
  }

  #set(place, blob) {
    this.styles[place] = blob;
    if (!this.styles[0]) this.styles = [this.styles[1], null];
    this.#show();
    this.tell.styled();
  }

  #wire() {
    $("seed").addEventListener("change", () => {
      this.seed = this.seed;
      this.tell.changed();
    });
    $("dice").addEventListener("click", () => {
      this.seed = crypto.getRandomValues(new Uint32Array(1))[0] % 10000;
      this.tell.changed();
    });
    $("own-size").addEventListener("change", () => this.tell.changed());
    $("strength").addEventListener("input", () => {
      $("strength-told").textContent = `${$("strength").value} %`;
      this.tell.blended();
    });
    $("mix").addEventListener("input", () => {
      $("mix-told").textContent = `${$("mix").value} %`;
      this.tell.changed();
    });
  }
}
