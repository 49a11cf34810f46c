/**
 * What a person does on a canvas: by mouse, pen, finger or keyboard. The editor is told of it in the canvas's own pixels.
 *
 * @typedef {{x: number, y: number, pressure: number}} Point  pressure 0 … 1, and 0.5 where nothing measures it
 * @typedef {object} Receiver
 * @property {(point: Point) => void} begin
 * @property {(point: Point) => void} move
 * @property {() => void} end
 * @property {(point: Point|null) => void} hover
 * @property {() => void} twice  a double click
 * @property {(key: string) => boolean} key  whether the key was of use
 * @property {() => number} step  how far an arrow key goes, in pixels
 */
export class Surface {
  #pointer = null;
  #held = false;

  /**
   * @param {HTMLCanvasElement} canvas
   * @param {HTMLElement} stage  around it: strokes may begin and end outside the canvas
   * @param {Receiver} receiver
   */
  constructor(canvas, stage, receiver) {
    this.canvas = canvas;
    this.receiver = receiver;
    this.cursor = null;
    const listen = (target, names, call) => names.split(" ").forEach((name) => target.addEventListener(name, call));
    listen(stage, "pointerdown", (event) => this.#down(event));
    listen(stage, "pointermove", (event) => this.#moved(event));
    listen(stage, "pointerup pointercancel", (event) => this.#up(event));
    listen(stage, "pointerleave", () => this.#pointer === null && receiver.hover(this.#focused() ? this.cursor : null));
    listen(stage, "dblclick", () => receiver.twice());
    listen(canvas, "keydown", (event) => this.#key(event));
    listen(canvas, "keyup blur", (event) => this.#release(event));
    listen(canvas, "focus", () => this.#focus());
  }

  /** The keyboard's cursor goes to the middle; for another picture. */
  reset() {
    this.cursor = null;
    this.#pointer = null;
    this.#held = false;
  }

  #focused() {
    return document.activeElement === this.canvas && this.canvas.matches(":focus-visible");
  }

  #point(event) {
    const box = this.canvas.getBoundingClientRect();
    return {
      x: ((event.clientX - box.left) / box.width) * this.canvas.width,
      y: ((event.clientY - box.top) / box.height) * this.canvas.height,
      pressure: event.pointerType === "pen" && event.pressure ? event.pressure : 0.5,
    };
  }

  #down(event) {
    if (event.button !== 0 || this.#pointer !== null || this.canvas.hidden) return;
    event.preventDefault();
    this.canvas.focus({ preventScroll: true, focusVisible: false });
    this.#pointer = event.pointerId;
    try {
      event.currentTarget.setPointerCapture(event.pointerId);
    } catch {
      // The pointer has gone already.
    }
    this.receiver.begin(this.#point(event));
  }

  #moved(event) {
    if (this.canvas.hidden) return;
    const point = this.#point(event);
    if (this.#pointer === null) this.receiver.hover(event.pointerType === "touch" ? null : point);
    if (event.pointerId !== this.#pointer) return;
    const all = event.getCoalescedEvents?.() ?? [];
    for (const one of all.length ? all : [event]) this.receiver.move(this.#point(one));
  }

  #up(event) {
    if (event.pointerId !== this.#pointer) return;
    this.#pointer = null;
    this.receiver.end();
  }

  #focus() {
    if (!this.canvas.matches(":focus-visible")) return;
    this.cursor ??= { x: Math.floor(this.canvas.width / 2) + 0.5, y: Math.floor(this.canvas.height / 2) + 0.5, pressure: 0.5 };
    this.receiver.hover(this.cursor);
  }

  #key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    this.cursor ??= { x: Math.floor(this.canvas.width / 2) + 0.5, y: Math.floor(this.canvas.height / 2) + 0.5, pressure: 0.5 };
    const arrow = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (arrow) this.#go(arrow, event.shiftKey ? 1 : this.receiver.step());
    else if (event.key === " ") this.#press(event.repeat);
    else if (!this.receiver.key(event.key)) return;
    event.preventDefault();
  }

  #go([dx, dy], step) {
    const within = (value, most) => Math.min(Math.max(value, 0.5), most - 0.5);
    const { x, y } = this.cursor;
    this.cursor = { ...this.cursor, x: within(x + dx * step, this.canvas.width), y: within(y + dy * step, this.canvas.height) };
    if (this.#held) this.receiver.move(this.cursor);
    this.receiver.hover(this.cursor);
  }

  #press(repeated) {
    if (repeated || this.#held || this.#pointer !== null) return;
    this.#held = true;
    this.receiver.begin(this.cursor);
  }

  #release(event) {
    if (event.type === "blur") this.receiver.hover(null);
    if (!this.#held || (event.type === "keyup" && event.key !== " ")) return;
    this.#held = false;
    this.receiver.end();
  }
}
