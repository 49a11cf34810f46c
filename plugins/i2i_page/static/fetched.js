/** Files of an export: loaded once, with progress, checked against the manifest, and kept by the browser. */

/**
 * @typedef {object} Listed
 * @property {string} file its place in the folder
 * @property {number} bytes
 * @property {string} sha256 in hexadecimal
 */

/**
 * @param {string} url
 * @param {Listed} listed
 * @param {string} cache the name of the browser's cache in which it is kept, where pages may have one
 * @param {(bytes: number) => void} more called for what has come since the last call
 * @returns {Promise<ArrayBuffer>}
 * @throws {Error} with a sentence, if it does not come or is another file
 */
export async function fetched(url, listed, cache, more) {
  const kept = self.caches && (await caches.open(cache).catch(() => null));
  const own = await kept?.match(url);
  const bytes = own ? await own.arrayBuffer() : await loaded(url, listed, more);
  if (own) more(bytes.byteLength);
  if (!(await same(bytes, listed))) {
    await kept?.delete(url);
    throw new Error(
      `${listed.file}: this is not the file that was exported (its SHA-256 differs). Reload the page; if that does not help, ` +
        "upload the exported folder again.",
    );
  }
  if (kept && !own) await kept.put(url, new Response(bytes)).catch(() => {}); // no room: it is loaded again next time
  return bytes;
}

async function loaded(url, listed, more) {
  let answer;
  try {
    answer = await fetch(url, crypto.subtle ? {} : { integrity: integrity(listed) }); // the browser checks it on http, too
  } catch {
    throw new Error(`${listed.file}: it could not be loaded. Check the connection, and that the folder is complete.`);
  }
  if (!answer.ok) throw new Error(`${listed.file}: the server has no such file (${answer.status}). Upload the whole folder.`);
  const parts = [];
  for (let reader = answer.body.getReader(); ; ) {
    const { done, value } = await reader.read();
    if (done) return new Blob(parts).arrayBuffer();
    parts.push(value);
    more(value.length);
  }
}

async function same(bytes, { sha256 }) {
  if (!crypto.subtle) return true;
  const found = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return [...found].map((byte) => byte.toString(16).padStart(2, "0")).join("") === sha256;
}

function integrity({ sha256 }) {
  const bytes = sha256.match(/../g).map((pair) => parseInt(pair, 16));
  return `sha256-${btoa(String.fromCharCode(...bytes))}`;
}
