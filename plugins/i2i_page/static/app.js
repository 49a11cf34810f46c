/** The page: reads the description of the models, opens the engine that computes, and lets the parts know of each other. */
import { fetchSample, get, server, token } from "./access.js";
import { showAbout, wireDialogs } from "./about.js";
import { $, choices, choose, sentence } from "./dom.js";
import { Follow } from "./follow.js";
import { History } from "./history.js";
import { Input, fileOf } from "./input.js";
import { fittingDirection } from "./models.js";
import { Results } from "./results.js";
import { LARGEST_SEED, Settings } from "./settings.js";
import { showSamples, wireSources } from "./sources.js";

const SEEDS = 4;
const SETTLED = 700; // milliseconds without a change, after which a result is worth keeping
const LIMITS = { megabytes: 20, pixels: 2 ** 24 };

class App {
  constructor(manifest, engine) {
    this.manifest = manifest;
    this.engine = engine;
    this.limits = { ...LIMITS, ...manifest.limits };
    this.view = "one";
    this.comparing = false;
    this.follow = new Follow((request, signal) => this.#ask(request, signal), {
      show: (part, result) => this.#shown(part, result),
      fail: (error, part) => this.#failed(error, part),
      state: (busy, note) => this.#state(busy, note),
    });
    this.results = new Results({ chosen: (entry) => this.#chosen(entry), failed: (error) => this.#failed(error) });
    this.settings = new Settings(
      { changed: () => this.want(), styled: () => this.#styled(), blended: () => this.#blend() },
      fetchSample,
    );
    this.history = new History((kept) => this.#restore(kept));
    this.input = new Input({
      changed: () => this.want(),
      masked: () => this.#blend(),
      said: say,
      failed: (error) => this.#failed(error),
    });
    wireSources((blob) => this.input.take(blob));
    wireDialogs();
    this.#wire();
  }

  #wire() {
    const { models } = this.manifest;
    $("model").replaceChildren(...models.map(({ title }) => new Option(title)));
    $("model").addEventListener("change", () => this.open(models[$("model").selectedIndex]));
    $("model-field").hidden = $("compare").hidden = models.length < 2;
    $("model-name").hidden = models.length > 1;
    $("about").addEventListener("click", () => showAbout(this.model));
    $("theme").addEventListener("click", () => window.i2iTheme.toggle());
    $("compare").addEventListener("click", () => this.#compare(!this.comparing));
  }

  /** Shows a model, in its first direction or a given one. */
  open(model, direction = model.directions[0]) {
    Object.assign(this, { model, direction });
    $("model").selectedIndex = this.manifest.models.indexOf(model);
    $("model-name").textContent = model.title;
    document.title = `${model.title} – i2i`;
    const entries = model.directions.map(({ id, label }) => ({ value: id, label }));
    choices($("directions"), entries, direction.id, (id) =>
      this.open(
        model,
        model.directions.find((one) => one.id === id),
      ),
    );
    this.follow.drop();
    this.settings.open(model, direction);
    this.input.open(model, direction, this.limits);
    const samples = showSamples(model, direction, fetchSample, (blob) => this.input.take(blob));
    this.#views();
    this.#slots();
    this.results.clear();
    if (this.input.fresh && samples.length) this.#begin(samples[0], direction);
    else this.want();
  }

  /** With a sample, unless a person was faster. */
  async #begin(sample, direction) {
    const blob = await sample.catch(() => null);
    if (this.direction !== direction || !this.input.fresh) return;
    if (blob) this.input.take(blob);
    else this.want();
  }

  #views() {
    const several = {
      value: "several",
      label: "Four seeds",
      icon: "compare",
      title: "Four results side by side, each with its own seed",
    };
    const all = [
      { value: "one", label: "One", icon: "one", title: "One result" },
      { value: "split", label: "Before and after", icon: "split", title: "Before and after, with a slider" },
      ...(this.settings.seeded ? [several] : []),
    ];
    if (!all.some(({ value }) => value === this.view)) this.view = "one";
    choices($("view"), all, this.view, (view) => this.#show(view));
    $("view").hidden = this.comparing;
  }

  #styled() {
    this.#views();
    this.#slots();
    this.want();
  }

  #show(view) {
    const picked = this.view === "several" ? this.results.current : null;
    this.view = view;
    if (picked?.values && view !== "several") this.settings.seed = picked.values.seed;
    this.#slots();
    this.want();
  }

  #compare(on) {
    this.comparing = on;
    $("compare").setAttribute("aria-pressed", String(on));
    this.#views();
    this.#slots();
    this.want();
  }

  /** The places of results: one, four seeds, or one for each model. */
  #slots() {
    const { model, direction } = this;
    const one = { model, direction };
    if (this.comparing)
      this.results.open(
        this.manifest.models.map((other) => this.#compared(other)),
        "grid",
      );
    else if (this.view === "several")
      this.results.open(
        this.#seeds().map((seed, place) => ({ ...one, key: `seed ${place}`, title: `Seed ${seed}` })),
        "grid",
      );
    else this.results.open([{ ...one, key: "one", title: direction.label }], this.view);
  }

  #seeds() {
    return Array.from({ length: SEEDS }, (_, place) => (this.settings.seed + place) % (LARGEST_SEED + 1));
  }

  #compared(other) {
    const { direction, refusal } = fittingDirection(other, this.model, this.direction);
    return {
      key: other.id,
      title: direction ? `${other.title}: ${direction.label}` : other.title,
      model: other,
      direction,
      refusal,
    };
  }

  /** Another result is wanted; that of now, once it is its turn. */
  want() {
    $("trouble").hidden = true;
    clearTimeout(this.settling);
    if (this.view === "several" && !this.comparing) this.#slots();
    if (!this.input.empty) this.follow.want(() => this.#parts());
  }

  async #parts() {
    const snapshot = await this.input.snapshot();
    const { values } = this.settings;
    if (!snapshot) return [];
    const seeds = this.#seeds();
    const made = this.results.entries
      .filter(({ direction }) => direction)
      .map(async (entry, place) => {
        const { model, direction } = entry;
        const own = this.comparing
          ? valuesFor(model, values)
          : { ...values, seed: this.view === "several" ? seeds[place] : values.seed };
        const image = await fileOf(snapshot, model.domains[direction.source]);
        return { key: entry.key, snapshot, values: own, request: requestOf(model, direction, image, own) };
      });
    return Promise.all(made);
  }

  async #ask(request, signal) {
    await this.engine.prepare(request.model, request.direction);
    note(this.engine);
    return this.engine.translate(request, signal);
  }

  async #shown({ key, snapshot, values }, { blob, seconds }) {
    $("trouble").hidden = true;
    const strength = this.settings.values.strength;
    await this.results.show(key, {
      raw: blob,
      snapshot: { ...snapshot, mask: this.input.mask },
      values: { ...values, strength },
      seconds,
    });
    this.told = `${seconds < 10 ? seconds.toFixed(2) : Math.round(seconds)} s`;
  }

  #state(busy, note) {
    clearTimeout(this.waiting);
    clearTimeout(this.settling);
    $("frame").setAttribute("aria-busy", String(busy));
    if (busy) this.waiting = setTimeout(() => this.#working(note), note ? 0 : 200);
    else {
      $("busy").hidden = true;
      $("state").textContent = this.told ? `Translated in ${this.told}` : "";
      this.settling = setTimeout(() => this.#settled(), SETTLED);
    }
  }

  #working(note) {
    $("busy").hidden = false;
    $("state").textContent = note || "Translating …";
  }

  /** A person has paused: the result is announced and kept. */
  #settled() {
    const { blob, model, direction, snapshot, values } = this.results.current ?? {};
    if (!blob || this.follow.busy) return;
    say(`The result is there, after ${this.told}.`);
    const seed = model.draws && !values.styles[0] ? `, seed ${values.seed}` : "";
    this.history.add({ blob, model, direction, snapshot, values, label: `${model.title}: ${direction.label}${seed}` });
  }

  /** Beside other results the error stands in its place. */
  #failed(error, part = null) {
    if (part && this.results.refuse(part.key, sentence(error.message))) return;
    this.told = "";
    $("trouble").textContent = sentence(error.message);
    $("trouble").hidden = false;
  }

  #chosen(entry) {
    say(`Chosen: ${entry.title}`);
  }

  #blend() {
    this.results.blend(this.settings.values.strength, this.input.mask);
    clearTimeout(this.settling);
    this.settling = setTimeout(() => this.#settled(), SETTLED);
  }

  #restore({ model, direction, snapshot, values }) {
    this.comparing = false;
    $("compare").setAttribute("aria-pressed", "false");
    if (this.view === "several") this.view = "one";
    this.settings.open(model, direction);
    this.settings.restore(values);
    this.input.open(model, direction, this.limits);
    this.input.restore(snapshot);
    this.open(model, direction);
    choose($("directions"), direction.id);
  }
}

/** The values of the page for another model, which may know fewer of them. */
function valuesFor(model, values) {
  const styles = model.style ? [values.styles[0], model.mix ? values.styles[1] : null] : [null, null];
  return { ...values, styles, ownSize: model.scales && values.ownSize };
}

function requestOf(model, direction, image, { seed, styles, mix, ownSize }) {
  return { model, direction, image, seed: model.draws ? seed : null, style: styles[0], style2: styles[1], mix, ownSize };
}

/** What the engine computes with, which may change when it has tried. */
function note(engine) {
  $("note").textContent = engine.note ?? "";
  $("note").hidden = !engine.note;
}

/** For those who listen to the page. */
function say(text) {
  $("said").textContent = text;
}

async function start() {
  const manifest = await (await get(server ? "model" : "manifest.json")).json();
  const { open } = await import(server ? "./engine-server.js" : "./engine-web.js");
  const progress = (fraction, text) => ($("state").textContent = text);
  const engine = await open(manifest, { base: document.baseURI, token, progress });
  note(engine);
  const app = new App(manifest, engine);
  app.open(manifest.models[0]);
  document.documentElement.dataset.ready = "true";
}

start().catch((error) => {
  $("trouble").textContent = sentence(error.message);
  $("trouble").hidden = false;
});
