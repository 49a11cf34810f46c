/** The service worker of an export: its page opens without a network, once it was open with one. The export fills in both lines. */

const BUILD = "";
const FILES = [];

const folder = new URL(".", self.location.href).href, cache = `i2i ${folder} ${BUILD}`;

self.addEventListener("install", (event) => {
  const requests = FILES.map((file) => new Request(new URL(file, folder), { cache: "reload" }));
  event.waitUntil(caches.open(cache).then((kept) => kept.addAll(requests)).then(() => self.skipWaiting()));
});

self.addEventListener("activate", (event) => {
  const old = (name) => name.startsWith(`i2i ${folder} `) && name !== cache;
  const cleared = caches.keys().then((names) => Promise.all(names.filter(old).map((name) => caches.delete(name))));
  event.waitUntil(cleared.then(() => self.clients.claim()));
});

self.addEventListener("fetch", (event) => {
  if (event.request.method !== "GET") return;
  const kept = caches.open(cache).then((store) => store.match(event.request, { ignoreSearch: true }));
  event.respondWith(kept.then((found) => found ?? fetch(event.request)));
});
