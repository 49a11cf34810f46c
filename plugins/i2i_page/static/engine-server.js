/**
 * The engine where a server computes: `i2i serve`. See docs/page.md for what an engine is.
 *
 * @typedef {object} Request
 * @property {object} model  an entry of the description's `models`
 * @property {object} direction  an entry of the model's `directions`
 * @property {Blob} image
 * @property {number|null} [seed]  0 … 2^31-1
 * @property {Blob|null} [style]
 * @property {Blob|null} [style2]
 * @property {number} [mix]  the share of the second style, 0 … 1
 * @property {boolean} [ownSize]
 */

/** An answer that is no picture. `retryAfter` is in seconds, null where trying again is of no use. */
class Refused extends Error {
  constructor(message, status, retryAfter) {
    super(message);
    this.status = status;
    this.retryAfter = retryAfter;
  }
}

/**
 * @param {object} manifest  what `api/model` answered
 * @param {{base: string, token?: string|null, progress?: (fraction: number, text: string) => void}} options
 */
export async function open(manifest, { base, token = null }) {
  const address = new URL("api/translate", base);
  const headers = token ? { Authorization: `Bearer ${token}` } : {};

  return {
    note: null,

    async prepare() {},

    /** @param {Request} request  @param {AbortSignal} [signal]  @returns {Promise<{blob: Blob, seconds: number}>} */
    async translate(request, signal) {
      const started = performance.now();
      const answer = await send(address, { method: "POST", headers, body: form(request), signal });
      if (!answer.ok) throw await refusal(answer);
      const blob = await answer.blob();
      const told = Number(answer.headers.get("X-I2I-Seconds"));
      return { blob, seconds: told || (performance.now() - started) / 1000 };
    },
  };
}

/** The request as multipart fields; a value that is null is left out. */
function form({ model, direction, image, seed, style, style2, mix, ownSize }) {
  const body = new FormData();
  body.append("model", model.id);
  body.append("direction", direction.id);
  if (seed !== null && seed !== undefined) body.append("seed", String(seed));
  if (style2) body.append("mix", String(mix));
  if (ownSize) body.append("own_size", "true");
  for (const [name, file] of Object.entries({ image, style, style2 })) {
    if (file) body.append(name, file, file.name || `${name}.png`);
  }
  return body;
}

async function send(address, options) {
  try {
    return await fetch(address, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused("The server does not answer. Check that i2i serve still runs.", 0, 2);
  }
}

async function refusal(answer) {
  const wait = Number(answer.headers.get("Retry-After"));
  let told = `The server answers with the status ${answer.status}.`;
  try {
    const { detail } = await answer.json();
    if (typeof detail === "string" && detail) told = detail;
  } catch {
    // No JSON, for instance from a proxy: the status has to do.
  }
  return new Refused(told, answer.status, answer.status === 503 ? wait || 1 : null);
}
