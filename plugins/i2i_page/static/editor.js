/** A canvas on which numbers are painted: a label map's classes, a drawing's ink, or a mask. */
import { Raster } from "./raster.js";
import { Surface } from "./surface.js";
import { Undo } from "./undo.js";

/**
 * @typedef {object} Subject  what is painted
 * @property {Raster} raster
 * @property {Uint32Array} table  the pixel that shows each number
 * @property {(value: number) => string} naming  what a number means, for people who do not see it
 * @property {boolean} [smooth]  whether strokes have a soft edge, and follow the pressure
 * @property {boolean} [pixelated]
 * @property {(raster: Raster, value: number) => void} [first]  before anything is painted by hand
 */
export class Editor {
  #image = null;
  #from = null;
  #corners = [];
  #kept = null;

  /**
   * @param {HTMLCanvasElement} canvas
   * @param {HTMLCanvasElement} overlay  over it, for the cursor and the polygon
   * @param {object} tell
   * @param {(done: boolean) => void} tell.changed  the picture is another; `done` at the end of a stroke
   * @param {(text: string) => void} tell.said  for a live region
   * @param {() => void} tell.tools  undo, polygon or size are other than before
   */
  constructor(canvas, overlay, tell) {
    this.canvas = canvas;
    this.overlay = overlay;
    this.tell = tell;
    this.tool = "brush";
    this.size = 8;
    this.value = 0;
    this.undoing = new Undo();
    this.surface = new Surface(canvas, canvas.parentElement, this);
    this.context = canvas.getContext("2d");
    new ResizeObserver(() => this.hover(null)).observe(canvas);
  }

  /** @param {Subject} subject */
  open(subject) {
    this.subject = subject;
    this.undoing = new Undo();
    this.#corners = [];
    this.surface.reset();
    this.#sized();
  }

  /** Replaces everything that is painted, as one step that can be undone. @param {Raster} raster */
  replace(raster) {
    this.undoing.keep(this.subject.raster);
    this.#set(raster);
  }

  /** Fills everything with the chosen number. */
  clear(value = this.value) {
    const { width, height, values } = this.subject.raster;
    this.replace(Raster.filled(width, height, value, values.BYTES_PER_ELEMENT > 1 ? 65535 : 255));
    this.tell.said(`Everything is ${this.subject.naming(value)}.`);
  }

  undo() {
    const before = this.undoing.back(this.subject.raster);
    if (before) this.#set(before);
  }

  redo() {
    const after = this.undoing.forth(this.subject.raster);
    if (after) this.#set(after);
  }

  /** The corners of the polygon that is not closed yet. */
  get corners() {
    return this.#corners.length;
  }

  closePolygon() {
    const corners = this.#corners;
    this.#corners = [];
    if (corners.length > 2) {
      this.#keep();
      this.#show(this.subject.raster.polygon(corners, this.value));
      this.tell.said(`The polygon of ${corners.length} corners is ${this.subject.naming(this.value)}.`);
      this.tell.changed(true);
    }
    this.hover(this.surface.cursor);
    this.tell.tools();
  }

  // What the surface tells.

  begin(point) {
    if (this.tool === "polygon") this.#corner(point);
    else if (this.tool === "fill") this.#fill(point);
    else {
      this.#kept = this.subject.raster.copy();
      this.#first();
      this.#from = this.#sizedPoint(point);
      this.#stroke(this.#from);
    }
  }

  move(point) {
    if (!this.#from) return;
    this.#stroke(this.#sizedPoint(point));
    this.hover(point);
  }

  end() {
    if (!this.#from) return;
    this.#from = null;
    this.undoing.keep(this.#kept);
    this.#kept = null;
    this.tell.tools();
    this.tell.changed(true);
  }

  twice() {
    if (this.tool === "polygon") this.closePolygon();
  }

  /** One key of the canvas's own. */
  key(name) {
    const keys = {
      Enter: () => this.closePolygon(),
      Escape: () => this.#forget(),
      Backspace: () => this.#corners.pop(),
      "[": () => this.resize(Math.min(this.size / 1.3, this.size - 1)),
      "]": () => this.resize(Math.max(this.size * 1.3, this.size + 1)),
    };
    if (!keys[name] || (name === "Escape" && !this.#corners.length)) return false;
    keys[name]();
    this.hover(this.surface.cursor);
    this.tell.tools();
    return true;
  }

  step() {
    return Math.max(1, Math.round(this.size / 2));
  }

  hover(point) {
    this.#draw(point);
    if (point && point === this.surface.cursor) this.#say(point);
  }

  resize(size) {
    this.size = Math.min(Math.max(Math.round(size), 1), 200);
  }

  #keep() {
    this.undoing.keep(this.subject.raster);
    this.#first();
  }

  #first() {
    if (!this.subject.first) return;
    this.subject.first(this.subject.raster, this.value);
    this.#show(this.#whole());
  }

  #whole() {
    return { left: 0, top: 0, right: this.subject.raster.width, bottom: this.subject.raster.height };
  }

  #forget() {
    this.#corners = [];
    this.tell.said("The polygon is forgotten.");
  }

  #say(point) {
    const value = this.subject.raster.at(point);
    this.tell.said(`Column ${Math.floor(point.x)}, row ${Math.floor(point.y)}: ${this.subject.naming(value)}`);
  }

  #sizedPoint({ x, y, pressure }) {
    return { x, y, size: this.subject.smooth ? this.size * (0.4 + 1.2 * pressure) : this.size };
  }

  #stroke(to) {
    const { raster, smooth } = this.subject;
    this.#show(smooth ? raster.soft(this.#from, to, this.value) : raster.stroke(this.#from, to, this.size, this.value));
    this.#from = to;
    this.tell.changed(false);
  }

  #fill(point) {
    if (this.subject.raster.at(point) === undefined) return;
    this.#keep();
    this.#show(this.subject.raster.fill(point, this.value));
    this.tell.tools();
    this.tell.changed(true);
  }

  #corner(point) {
    const [first] = this.#corners;
    const near = 6 * (this.canvas.width / this.canvas.clientWidth || 1);
    if (this.#corners.length > 2 && Math.hypot(first.x - point.x, first.y - point.y) < near) {
      this.closePolygon();
      return;
    }
    const last = this.#corners.at(-1);
    if (!last || last.x !== point.x || last.y !== point.y) this.#corners.push(point);
    this.tell.said(`Corner ${this.#corners.length}. Enter closes the polygon.`);
    this.tell.tools();
    this.hover(point);
  }

  #set(raster) {
    this.subject.raster = raster;
    this.#corners = [];
    this.#sized();
    this.tell.tools();
    this.tell.changed(true);
  }

  #sized() {
    const { raster, pixelated } = this.subject;
    Object.assign(this.canvas, { width: raster.width, height: raster.height });
    this.canvas.classList.toggle("pixelated", Boolean(pixelated));
    this.#image = new ImageData(raster.width, raster.height);
    this.#show(this.#whole());
    this.#draw(null);
  }

  /** Shows an area of the raster. */
  #show({ left, top, right, bottom }) {
    const { raster, table } = this.subject;
    const pixels = new Uint32Array(this.#image.data.buffer);
    for (let row = top; row < bottom; row += 1) {
      for (let place = row * raster.width + left; place < row * raster.width + right; place += 1) {
        pixels[place] = table[raster.values[place]];
      }
    }
    if (right > left && bottom > top) this.context.putImageData(this.#image, 0, 0, left, top, right - left, bottom - top);
  }

  /** The overlay: where the brush is, and the corners of the polygon. */
  #draw(point) {
    const { clientWidth, clientHeight } = this.canvas;
    const dense = window.devicePixelRatio || 1;
    Object.assign(this.overlay, { width: clientWidth * dense, height: clientHeight * dense });
    const context = this.overlay.getContext("2d");
    const scale = this.overlay.width / this.canvas.width;
    const path = new Path2D();
    for (const corner of this.#corners) path.lineTo(corner.x * scale, corner.y * scale);
    if (point && this.#corners.length) path.lineTo(point.x * scale, point.y * scale);
    for (const { x, y } of this.#corners) path.rect(x * scale - 3, y * scale - 3, 6, 6);
    if (point) this.#aim(path, point, scale);
    for (const [width, color] of [
      [3, "#000"],
      [1.5, "#fff"],
    ]) {
      Object.assign(context, { lineWidth: width * dense, strokeStyle: color });
      context.stroke(path);
    }
  }

  #aim(path, { x, y }, scale) {
    const radius = this.tool === "fill" || this.tool === "polygon" ? 0 : Math.max((this.size * scale) / 2, 1);
    if (radius > 6) path.moveTo(x * scale + radius, y * scale);
    if (radius > 6) path.arc(x * scale, y * scale, radius, 0, 2 * Math.PI);
    const arm = radius > 6 ? 3 : 8;
    path.moveTo(x * scale - arm, y * scale);
    path.lineTo(x * scale + arm, y * scale);
    path.moveTo(x * scale, y * scale - arm);
    path.lineTo(x * scale, y * scale + arm);
  }
}
