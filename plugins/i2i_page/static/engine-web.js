/** The engine of an exported page: onnxruntime-web in a worker of this browser. Pictures do not leave it. */

/**
 * @param {object} manifest what the export wrote
 * @param {{base?: string, progress?: (fraction: number, text: string) => void}} options *base*: the address of the folder
 * @returns {Promise<object>} prepare(model, direction), translate(request, signal), and a note for people
 * @throws {Error} with a sentence, if this browser cannot compute
 */
export async function open(manifest, { base = ".", progress = () => {} } = {}) {
  const folder = new URL(".", new URL(base, document.baseURI)).href;
  const { ask, drop } = working(progress);
  const compute = new URLSearchParams(location.search).get("compute");
  const engine = { note: null, prepare, translate };
  await told(ask("open", { manifest, base: folder, compute }));
  keptForLater(folder);
  return engine;

  /** Take over what the worker says it computes with. */
  async function told(asked) {
    const { note, ...result } = await asked.result;
    engine.note = note;
    return result;
  }

  /** Load the runtime and the direction's file, unless they are there. */
  async function prepare(model, direction) {
    await told(ask("prepare", { model, direction }));
  }

  /**
   * @param {{model: object, direction: object, image: Blob, style?: Blob | null, ownSize?: boolean}} request
   * @param {AbortSignal} [signal] what it stops is not shown; a network that has begun computes to its end
   * @returns {Promise<{blob: Blob, seconds: number}>} a PNG with its provenance, and the time of the network
   */
  async function translate({ model, direction, image, style = null, ownSize = false }, signal) {
    signal?.throwIfAborted();
    const asked = ask("translate", { model, direction, image, style, ownSize });
    return told({ result: Promise.race([asked.result, aborted(signal, () => drop(asked.id))]) });
  }
}

/** The worker: ask(task, given) gives the number of a task and the promise of its result; drop(number) forgets it. */
function working(progress) {
  const worker = new Worker(new URL("./engine-worker.js", import.meta.url), { type: "module" });
  const waiting = new Map();
  let count = 0;
  worker.onmessage = ({ data }) => {
    if (data.text) return progress(data.progress, data.text);
    const { resolve, reject } = waiting.get(data.id) ?? {};
    waiting.delete(data.id);
    return "error" in data ? reject?.(new Error(data.error)) : resolve?.(data.result);
  };
  worker.onerror = (event) => {
    for (const { reject } of waiting.values()) reject(new Error(`the page's worker failed (${event.message ?? "it did not load"}).`));
    waiting.clear();
  };
  const ask = (task, given) => {
    const id = ++count;
    const result = new Promise((resolve, reject) => { waiting.set(id, { resolve, reject }); });
    worker.postMessage({ id, task, ...given });
    return { id, result };
  };
  const drop = (id) => {
    waiting.delete(id);
    worker.postMessage({ drop: id });
  };
  return { ask, drop };
}

/** A promise that is only ever rejected: when *signal* aborts. */
function aborted(signal, stop) {
  return new Promise((_, reject) => {
    signal?.addEventListener("abort", () => { stop(); reject(signal.reason); }, { once: true });
  });
}

/** Let the page work without a network from the second time on, where the browser allows that (https, or this machine). */
function keptForLater(folder) {
  navigator.serviceWorker?.register(new URL("offline.js", folder), { scope: folder }).catch(() => {});
}
