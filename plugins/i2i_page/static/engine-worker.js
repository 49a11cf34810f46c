/** The work of engine-web.js, off the page's thread: files to samples, the network, its results to PNG. */

import { fetched } from "./fetched.js";
import { padded, pictureOf, prepared } from "./prepare.js";
import { choose, start } from "./runtime.js";

/** The largest difference from what the export computed that is taken for rounding; 1 is the difference of 127.5 greys. */
const ROUNDING = 0.02;

let manifest, base, cache, choice;
let runtime = null;
const sessions = new Map(), dropped = new Set();

/** One after the other: a session computes one picture at a time. */
let last = Promise.resolve();
self.onmessage = ({ data }) => {
  if (data.drop) dropped.add(data.drop);
  else last = last.then(() => answer(data));
};

async function answer({ id, task, ...given }) {
  if (dropped.delete(id)) return;
  try {
    self.postMessage({ id, result: await TASKS[task](given) });
  } catch (error) {
    self.postMessage({ id, error: error instanceof Error ? error.message : `${error}` });
  }
}

const TASKS = {
  async open(given) {
    ({ manifest, base } = given);
    cache = `i2i ${base} ${manifest.build}`;
    choice = await choose(manifest.runtime, given.compute);
    return { note: choice.note };
  },

  async prepare({ model, direction }) {
    await session(model.files[direction.id]);
    return { note: choice.note };
  },

  async translate({ model, direction, image, style, ownSize }) {
    const [source, target] = [model.domains[direction.source], model.domains[direction.target]];
    const plain = model.files[direction.id], listed = style && plain.styled ? plain.styled : plain;
    const [sample, network] = [await prepared(image, source, manifest.limits, ownSize), await session(listed)];
    const { data, dims, at } = padded(sample, model.divisor), feeds = { image: tensor(data, dims) };
    if (listed !== plain) feeds.style = await styleOf(style, target, listed.style_size, ownSize);
    const begun = performance.now(), made = await computed(network, feeds, sample.size);
    const seconds = (performance.now() - begun) / 1000;
    const blob = await pictureOf(made.data, made.dims, at, sample.size, target, model.provenance);
    return { blob, seconds, note: choice.note };
  },
};

const tensor = (data, dims) => new runtime.Tensor("float32", data, dims);

/** A style's picture as the network sees it: not padded; of the only size that it takes, if there is one. */
async function styleOf(file, domain, size, ownSize) {
  const preparation = size ? { ...domain.preparation, size, cover: false } : domain.preparation;
  const made = await prepared(file, { ...domain, preparation }, manifest.limits, ownSize && !size);
  return tensor(made.data, [1, made.channels, ...made.size]);
}

async function computed(network, feeds, [height, width]) {
  try {
    const { translation } = await network.run(feeds);
    return translation;
  } catch (error) {
    throw new Error(
      `a picture of ${width} x ${height} cannot be computed here (${error?.message ?? error}). A smaller one needs less memory.`,
    );
  }
}

/** The network in a file, loaded and checked when it is first asked for. WebAssembly takes over where WebGPU fails. */
async function session(listed) {
  if (!sessions.has(listed.file)) {
    try {
      sessions.set(listed.file, await begun(listed));
    } catch (error) {
      if (choice.name !== "webgpu" || error instanceof TypeError) throw error;
      choice = { name: "wasm", note: `computing with WebAssembly on one thread: WebGPU failed here (${error.message})` };
      runtime = null;
      sessions.clear();
      sessions.set(listed.file, await begun(listed));
    }
  }
  return sessions.get(listed.file);
}

async function begun(listed) {
  const { binary, module } = manifest.runtime[choice.name];
  const total = listed.bytes + (runtime ? 0 : binary.bytes + module.bytes);
  let got = 0;
  const more = (bytes) => {
    got += bytes;
    const told = `loading the model (${(got / 1e6).toFixed(1)} of ${(total / 1e6).toFixed(1)} MB)`;
    self.postMessage({ progress: Math.min(0.95, got / total), text: told });
  };
  const bytes = await fetched(new URL(listed.file, base).href, listed, cache, more);
  runtime ??= await start(manifest.runtime, choice.name, base, cache, more);
  const made = await runtime.InferenceSession.create(new Uint8Array(bytes), {
    executionProviders: [choice.name],
    // What "extended" fuses on WebGPU gives other results in 1.30.0: a small ResNet's by 6 greys.
    graphOptimizationLevel: choice.name === "webgpu" ? "basic" : "all",
  });
  await check(made, listed.check);
  self.postMessage({ progress: 1, text: "ready" });
  return made;
}

/** Compare with some numbers that the export computed: drivers of graphics cards have errors. */
async function check(network, { inputs, places, values }) {
  const feeds = Object.fromEntries(Object.entries(inputs).map(([name, dims]) => [name, tensor(pattern(dims), dims)]));
  const { translation } = await network.run(feeds);
  const away = Math.max(...places.map((place, i) => Math.abs(translation.data[place] - values[i])));
  if (!(away <= ROUNDING)) {
    const greys = Math.ceil(away * 127.5);
    throw new Error(`this browser's results differ from those of the export, by ${greys} greys. Use another browser.`);
  }
}

/** The input for the check, as i2i_export.web makes it: whole numbers, which are the same everywhere, in [-1, 1]. */
function pattern([, channels, height, width]) {
  const made = new Float32Array(channels * height * width);
  for (let c = 0, at = 0; c < channels; c++) {
    for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) made[at++] = ((c * 7 + y * 13 + x * 29 + x * y) % 65) / 32 - 1;
  }
  return made;
}
