/** Dark or light, before anything is drawn: what was chosen on this page, else what the system says. No module: it must not wait. */
(() => {
  const root = document.documentElement;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const now = () => root.dataset.theme || (dark.matches ? "dark" : "light");
  try {
    const kept = localStorage.getItem("i2i-theme");
    if (kept === "dark" || kept === "light") root.dataset.theme = kept;
  } catch {
    // Storage is switched off: the choice lasts as long as the page.
  }
  window.i2iTheme = {
    now,
    toggle() {
      root.dataset.theme = now() === "dark" ? "light" : "dark";
      try {
        localStorage.setItem("i2i-theme", root.dataset.theme);
      } catch {
        // As above.
      }
    },
  };
})();
