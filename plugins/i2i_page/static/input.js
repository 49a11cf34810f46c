/** The left side of the page: what is painted, drawn or given, as the source domain of the direction wants it. */
import { $, choices, choose } from "./dom.js";
import { Editor } from "./editor.js";
import { labelFile, readLabels } from "./labels.js";
import { MODES, inkOf, isWhole, subjectOf } from "./modes.js";
import { choosePlace, showPalette } from "./palette.js";
import { bitmapOf, canvasOf, greyOf, pixelsOf, within } from "./pictures.js";
import { pngOf } from "./png-write.js";
import { Raster } from "./raster.js";
import { canvasSizes } from "./sizes.js";

const MASK = 768; // the longer side of a mask
const SHOWN = 1600; // and of a picture on the page

/**
 * @typedef {object} Snapshot  an input as it is at one moment
 * @property {'labels'|'drawing'|'picture'} mode
 * @property {string} classes  which classes a label map's numbers mean
 * @property {Raster} [raster]
 * @property {Blob} [blob]
 * @property {Raster|null} mask
 * @property {ImageBitmap|HTMLCanvasElement|null} before  to look at
 */
export class Input {
  /**
   * @param {object} tell
   * @param {(done: boolean) => void} tell.changed
   * @param {() => void} tell.masked  only the mask is another
   * @param {(text: string) => void} tell.said
   * @param {(error: Error) => void} tell.failed
   */
  constructor(tell) {
    this.tell = tell;
    this.labels = new Map();
    this.drawing = null;
    this.picture = null;
    this.places = new Map();
    this.editor = new Editor($("paint"), $("overlay"), {
      changed: (done) => this.#painting(done),
      said: tell.said,
      tools: () => this.#tools(),
    });
    this.#wire();
  }

  /** Whether there is nothing to translate yet. */
  get empty() {
    return this.mode === "picture" && !this.picture;
  }

  /** Shows what the direction takes. @param {{megabytes: number, pixels: number}} limits  the most that the engine accepts */
  open(model, direction, limits) {
    Object.assign(this, { model, direction, limits, domain: model.domains[direction.source] });
    const modes = this.domain.kind === "labels" ? ["labels"] : ["picture", "drawing"];
    const mode = modes.length === 1 ? modes[0] : (this.byHand ?? (this.domain.line ? "drawing" : "picture"));
    const entries = modes.map((value) => ({ value, label: MODES[value].file }));
    choices($("mode"), entries, mode, (value) => {
      this.byHand = value;
      this.#enter(value);
      this.tell.changed(true);
    });
    const begun = { labels: this.labels.get(this.#classes()), drawing: this.drawing, picture: this.picture };
    this.fresh = !begun[mode];
    this.#enter(mode);
  }

  /** A file of a person's, or of the samples. @param {Blob} blob */
  async take(blob) {
    const { mode, domain } = this;
    this.fresh = false;
    try {
      const put = await this.#read(blob);
      if (mode === this.mode && domain === this.domain) put();
    } catch (error) {
      this.tell.failed(error);
    }
  }

  /** Reads a file, and gives what puts it in its place. */
  async #read(blob) {
    if (blob.size > this.limits.megabytes * 1e6) {
      throw new Error(`The file is larger than ${this.limits.megabytes} MB. Give a smaller one.`);
    }
    if (this.mode === "labels") {
      const raster = await readLabels(blob, this.domain, this.limits.pixels);
      return () => this.editor.replace(raster);
    }
    const bitmap = await bitmapOf(blob);
    if (bitmap.width * bitmap.height > this.limits.pixels) {
      throw new Error(`The picture has more than ${this.limits.pixels} pixels. Give a smaller one.`);
    }
    if (this.mode === "picture") return () => this.#pictured(blob, bitmap);
    const image = await pixelsOf(bitmap);
    return () => this.editor.replace(new Raster(image.width, image.height, greyOf(image)));
  }

  /** @returns {Promise<Snapshot|null>} */
  async snapshot() {
    if (this.empty) return null;
    const { mode, picture } = this;
    const classes = this.#classes();
    if (mode !== "picture") {
      const before = canvasOf($("paint").width, $("paint").height);
      before.getContext("2d").drawImage($("paint"), 0, 0);
      return { mode, classes, raster: this.editor.subject.raster.copy(), mask: null, before };
    }
    return { mode, classes, blob: picture.blob, mask: this.mask, before: picture.bitmap };
  }

  /** The mask; null where all of the picture is translated. */
  get mask() {
    const used = this.mode === "picture" && this.direction.blends && this.picture;
    return used && !isWhole(this.picture.mask) ? this.picture.mask.copy() : null;
  }

  /** @param {Snapshot} snapshot  of a direction with the same source */
  restore({ mode, raster, blob, mask, before }) {
    if (mode === "picture") {
      const whole = this.#freshMask(before);
      this.picture = { blob, bitmap: before, mask: mask?.copy() ?? whole };
    } else if (mode === "labels") this.labels.set(this.#classes(), raster.copy());
    else this.drawing = raster.copy();
    if (mode !== "labels") this.byHand = mode;
    choose($("mode"), mode);
    this.#enter(mode);
  }

  #painting(done) {
    const { keep, raster } = this.editor.subject;
    this.fresh = false;
    keep(raster);
    if (this.mode !== "picture") this.tell.changed(done);
    else if (done) this.tell.masked();
  }

  #classes() {
    return JSON.stringify(this.domain.classes.map(({ name }) => name));
  }

  #enter(mode) {
    this.mode = mode;
    const { title, hint, tools, clear, canvas, file } = MODES[mode];
    const masks = mode === "picture";
    $("input-title").textContent = title;
    $("clear").textContent = clear;
    $("hint").textContent = masks && !this.direction.blends ? "" : hint;
    $("upload-label").textContent = file;
    $("paint").setAttribute("aria-label", canvas);
    $("camera").hidden = mode === "labels";
    $("palette-field").hidden = mode !== "labels";
    $("tools").hidden = masks && (!this.direction.blends || !this.picture);
    $("own-size-field").hidden = !this.model.scales;
    choices($("tool"), tools, tools[0].value, (value) => this.#choose(value));
    this.#choose(tools[0].value);
    if (mode === "labels") this.#palette();
    if (masks) this.#openPicture();
    else this.#openCanvas();
    this.#tools();
  }

  #palette() {
    const place = Math.min(this.places.get(this.#classes()) ?? 0, this.domain.classes.length - 1);
    showPalette(this.domain.classes, place, (chosen) => this.#class(chosen));
    this.#class(place);
  }

  #class(place) {
    this.places.set(this.#classes(), place);
    this.editor.value = place;
    choosePlace(place);
  }

  #choose(tool) {
    this.editor.tool = tool;
    if (this.mode !== "labels") this.editor.value = inkOf(this.mode, tool);
    this.#tools();
  }

  #openCanvas() {
    const sizes = canvasSizes(this.domain, this.model, this.limits.pixels);
    const most = this.domain.classes.length;
    let raster = this.mode === "labels" ? this.labels.get(this.#classes()) : this.drawing;
    raster ??= Raster.filled(sizes[0].width, sizes[0].height, this.mode === "labels" ? 0 : 255, most);
    for (const id of ["under", "empty"]) $(id).hidden = true;
    for (const id of ["paint", "overlay", "canvas-size-field"]) $(id).hidden = false;
    this.editor.size = Math.max(2, Math.round(Math.min(raster.width, raster.height) / (this.mode === "labels" ? 8 : 32)));
    const classes = this.#classes();
    const keep = this.mode === "labels" ? (one) => this.labels.set(classes, one) : (one) => (this.drawing = one);
    this.editor.open({ ...subjectOf(this.mode, raster, this.domain), keep });
    this.#sizes(raster);
  }

  #sizes({ width, height }) {
    const sizes = canvasSizes(this.domain, this.model, this.limits.pixels);
    const found = sizes.findIndex((one) => one.width === width && one.height === height);
    const all = found < 0 ? [{ width, height, label: `${width} × ${height}` }, ...sizes] : sizes;
    $("canvas-size").replaceChildren(...all.map(({ label }) => new Option(label)));
    $("canvas-size").selectedIndex = Math.max(found, 0);
    $("canvas-size").onchange = () => {
      const chosen = all[$("canvas-size").selectedIndex];
      this.editor.replace(this.editor.subject.raster.scaled(chosen.width, chosen.height));
    };
    $("canvas-size-field").hidden = all.length < 2;
    this.#shape(width, height);
  }

  #shape(width, height) {
    this.shown = `${width} ${height}`;
    $("stage").style.setProperty("--shape", `${width} / ${height}`);
    $("stage").style.setProperty("--ratio", String(width / height));
  }

  #pictured(blob, bitmap) {
    this.picture = { blob, bitmap, mask: this.#freshMask(bitmap) };
    this.#enter("picture");
    this.tell.changed(true);
  }

  #freshMask({ width, height }) {
    return Raster.filled(...within(width, height, MASK), 255);
  }

  #openPicture() {
    const there = Boolean(this.picture);
    const masks = there && this.direction.blends;
    $("empty").hidden = there;
    $("under").hidden = !there;
    for (const id of ["paint", "overlay"]) $(id).hidden = !masks;
    $("canvas-size-field").hidden = true;
    if (!there) return;
    const { bitmap, mask } = this.picture;
    const [width, height] = within(bitmap.width, bitmap.height, SHOWN);
    Object.assign($("under"), { width, height });
    $("under").getContext("2d").drawImage(bitmap, 0, 0, width, height);
    this.#shape(width, height);
    this.editor.size = Math.round(Math.min(mask.width, mask.height) / 6);
    const { picture } = this;
    this.editor.open({ ...subjectOf("picture", mask, this.domain), keep: (one) => (picture.mask = one) });
  }

  #wire() {
    $("undo").addEventListener("click", () => this.editor.undo());
    $("redo").addEventListener("click", () => this.editor.redo());
    $("close-polygon").addEventListener("click", () => this.editor.closePolygon());
    $("clear").addEventListener("click", () => this.editor.clear(this.mode === "labels" ? this.editor.value : 255));
    $("size").addEventListener("input", () => {
      this.editor.resize(Number($("size").value));
      this.#tools();
    });
    document.addEventListener("keydown", (event) => {
      if (!(event.ctrlKey || event.metaKey) || event.target.matches("input:not([type=radio], [type=range]), textarea")) return;
      const key = event.key.toLowerCase();
      if (key !== "z" && key !== "y") return;
      event.preventDefault();
      if (key === "y" || event.shiftKey) this.editor.redo();
      else this.editor.undo();
    });
  }

  #tools() {
    if (!this.editor?.subject) return;
    const { undoing, size, tool, corners, subject } = this.editor;
    $("undo").disabled = !undoing.canUndo;
    $("redo").disabled = !undoing.canRedo;
    $("size").value = String(size);
    $("size-told").textContent = String(size);
    $("size-field").hidden = tool === "fill" || tool === "polygon";
    $("close-polygon").hidden = corners < 3;
    const { width, height } = subject.raster;
    if (this.mode !== "picture" && this.shown !== `${width} ${height}`) this.#sizes(subject.raster);
  }
}

/** The file that a model reads. @param {Snapshot} snapshot  @param {object} domain  of this model's source */
export async function fileOf({ mode, raster, blob }, domain) {
  if (mode === "labels") return labelFile(raster, domain);
  return mode === "drawing" ? pngOf(raster.values, raster.width, raster.height, 1) : blob;
}
