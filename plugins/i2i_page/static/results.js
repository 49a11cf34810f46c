/** The right side of the page: one result, before and after, or several side by side. */
import { $, make, save, showBlob } from "./dom.js";
import { blendedFile } from "./pictures.js";

/**
 * @typedef {object} Entry  the result in one place
 * @property {string} key
 * @property {string} title
 * @property {object} model  @property {object} direction
 * @property {Blob} [raw]  what the engine gave
 * @property {Blob} [blob]  what is shown and downloaded: blended with the input where that is wanted
 * @property {object} [snapshot]  the input that it was made from
 * @property {object} [values]  and the settings
 * @property {number} [seconds]
 * @property {string} [refusal]  why there is none
 */
export class Results {
  #turn = 0;

  /** @param {{chosen: (entry: Entry) => void, failed: (error: Error) => void}} tell */
  constructor(tell) {
    this.tell = tell;
    this.entries = [];
    this.chosen = null;
    this.view = "one";
    $("download").addEventListener("click", () => this.download());
    $("peek").addEventListener("click", () => $("frame").scrollIntoView({ block: "center" }));
    new IntersectionObserver(([{ isIntersecting }]) => this.#peek(isIntersecting)).observe($("frame"));
  }

  /** The entry that is downloaded. */
  get current() {
    return this.entries.find(({ key }) => key === this.chosen) ?? this.entries[0];
  }

  /** @param {Entry[]} entries  without results yet; those of before stay where their key is the same */
  open(entries, view) {
    const before = new Map(this.entries.map((entry) => [entry.key, entry]));
    this.entries = entries.map((entry) => ({ ...before.get(entry.key), ...entry }));
    this.view = view;
    const able = this.entries.filter(({ direction }) => direction);
    if (!able.some(({ key }) => key === this.chosen)) this.chosen = able[0]?.key;
    this.#build();
  }

  /** Forgets what is shown. */
  clear() {
    for (const entry of this.entries) for (const name of ["raw", "blob", "snapshot"]) delete entry[name];
    this.#build();
  }

  /** A new result. @param {{raw: Blob, snapshot: object, values: object, seconds: number}} made */
  async show(key, made) {
    const entry = this.entries.find((one) => one.key === key);
    if (!entry) return;
    Object.assign(entry, made, { refusal: "" });
    await this.#compose(entry);
  }

  /** Says in a place among several why it has no result. @returns {boolean} whether there is such a place */
  refuse(key, words) {
    const entry = this.entries.find((one) => one.key === key);
    if (!entry || this.entries.length < 2) return false;
    Object.assign(entry, { refusal: words, raw: undefined, blob: undefined });
    this.#build();
    return true;
  }

  /** The strength or the mask is another. */
  async blend(strength, mask) {
    for (const entry of this.entries) {
      if (!entry.raw) continue;
      entry.values = { ...entry.values, strength };
      entry.snapshot = { ...entry.snapshot, mask };
      await this.#compose(entry);
    }
  }

  async download() {
    const { blob, model, direction, values } = this.current;
    const seed = model.draws && !values.styles[0] ? `-seed${values.seed}` : "";
    save(blob, `${plain(model.id)}-${plain(direction.label.replaceAll("→", "to"))}${seed}.png`);
  }

  async #compose(entry) {
    const turn = (this.#turn += 1);
    entry.turn = turn;
    const { raw, snapshot, values, direction, model } = entry;
    const blends = direction.blends && snapshot.before && (values.strength < 1 || snapshot.mask);
    const domain = model.domains[direction.source];
    const what = {
      blob: raw,
      before: snapshot.before,
      strength: values.strength,
      mask: snapshot.mask,
      domain,
      xmp: model.provenance,
    };
    try {
      const blob = blends ? await blendedFile(what) : raw;
      if (entry.turn !== turn) return; // a newer one has come in between
      entry.blob = blob;
      this.#fill(entry);
    } catch (error) {
      this.tell.failed(error);
    }
  }

  #build() {
    for (const image of $("results").querySelectorAll("img")) showBlob(image, null);
    const many = this.entries.length > 1;
    $("results").className = many ? "grid" : this.view;
    $("results").replaceChildren(...this.entries.map((entry) => (many ? this.#tile(entry) : this.#single(entry))));
    for (const entry of this.entries) this.#fill(entry);
  }

  #single(entry) {
    const after = make("img", { class: "after", alt: "", hidden: true });
    const figure = make("figure", { class: "result", "data-key": entry.key }, after);
    if (this.view === "split")
      figure.append(make("canvas", { class: "before" }), make("span", { class: "edge" }), this.#slider(figure));
    return figure;
  }

  #slider(figure) {
    const slider = make("input", {
      type: "range",
      min: 0,
      max: 100,
      value: 50,
      class: "split-range",
      "aria-label": "Before and after",
    });
    const move = () => figure.style.setProperty("--split", `${slider.value}%`);
    slider.addEventListener("input", move);
    slider.setAttribute("aria-description", "Left of the line is the input, right of it the result.");
    move();
    return slider;
  }

  #tile(entry) {
    const image = make("img", { class: "after", alt: "", hidden: true });
    const title = make("span", { class: "title", text: entry.title });
    const told = make("span", { class: "refusal", text: entry.refusal ?? "" });
    const tile = make("button", { class: "tile", "data-key": entry.key, disabled: true }, image, title, told);
    tile.addEventListener("click", () => this.choose(entry.key));
    return tile;
  }

  choose(key) {
    this.chosen = key;
    for (const tile of $("results").querySelectorAll(".tile"))
      tile.setAttribute("aria-pressed", String(tile.dataset.key === key));
    this.tell.chosen(this.current);
  }

  /** On a phone the newest result is seen in a corner while one paints above. */
  #peek(visible = this.visible) {
    this.visible = visible;
    const { blob } = this.current ?? {};
    $("peek").hidden = visible || !blob;
    if (!$("peek").hidden) showBlob($("peek").querySelector("img"), blob);
  }

  /** Shows what an entry holds in its place. */
  #fill(entry) {
    const place = [...$("results").children].find((one) => one.dataset.key === entry.key);
    const image = place?.querySelector("img");
    if (!image) return;
    const told = place.querySelector(".refusal");
    if (told) told.textContent = entry.refusal ?? "";
    if (place.matches(".tile")) {
      place.disabled = !entry.blob;
      place.setAttribute("aria-pressed", String(entry.key === this.current.key));
    }
    $("download").disabled = !this.current.blob;
    if (!entry.blob) return;
    image.hidden = false;
    image.alt = `Result: ${entry.title}`;
    const { before } = entry.snapshot;
    image.onload = () => this.#arrived(place, image, before);
    showBlob(image, entry.blob);
    if (entry === this.current) this.#peek();
  }

  #arrived(place, image, before) {
    const { naturalWidth: width, naturalHeight: height } = image;
    place.style.setProperty("--ratio", String(width / height));
    const canvas = place.querySelector(".before");
    if (!canvas) return;
    Object.assign(canvas, { width, height });
    const context = canvas.getContext("2d");
    context.imageSmoothingEnabled = Boolean(before) && before.width > width; // what grows stays in steps
    if (before) context.drawImage(before, 0, 0, width, height);
  }
}

function plain(text) {
  return text
    .replace(/[^\p{L}\p{N}._-]+/gu, "-")
    .replace(/^-+|-+$/g, "")
    .slice(0, 80);
}
