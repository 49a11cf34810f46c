/** The page: reads the description of the models, and the engine that computes. */
const engineName = document.querySelector('meta[name="i2i-engine"]').content;
const address = new URL(engineName === 'web' ? 'manifest.json' : 'api/model', document.baseURI);
const manifest = await (await fetch(address)).json();
const { open } = await import(engineName === 'web' ? './engine-web.js' : './engine-server.js');
const engine = await open(manifest, { base: document.baseURI, token: null, progress() {} });
document.getElementById('title').textContent = manifest.models.map((model) => model.title).join(', ');
document.getElementById('status').textContent = engine.note ?? '';
