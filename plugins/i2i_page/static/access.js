/** What the page reads: the description of the models and their samples, from the server or from the folder that it lies in. */

const kind = document.querySelector('meta[name="i2i-engine"]').content;
export const server = kind !== "web";
export const token = server ? takeToken() : null;

/** The token in `#token=…`, kept for this tab only; it leaves the address bar. */
function takeToken() {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  try {
    if (given) sessionStorage.setItem("i2i-token", given);
    if (given) history.replaceState(null, "", location.pathname + location.search);
    return given ?? sessionStorage.getItem("i2i-token");
  } catch {
    return given;
  }
}

export async function get(path) {
  const address = new URL(server ? `api/${path}` : path, document.baseURI);
  if (address.origin !== location.origin) throw new Error("The description names a file of another site.");
  const answer = await fetch(address, { headers: token ? { Authorization: `Bearer ${token}` } : {} });
  if (answer.status === 401)
    throw new Error("This server wants its token: open the address that it printed, with #token= at its end.");
  if (!answer.ok) throw new Error(`The page cannot read ${path}: the server answers with the status ${answer.status}.`);
  return answer;
}

export const fetchSample = async (url) => (await get(url)).blob();
