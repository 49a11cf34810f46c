/** Says why nothing works where the page was opened as a file: browsers then keep it from its other files, app.js too. */
if (location.protocol === 'file:') {
  addEventListener('DOMContentLoaded', () => {
    const trouble = document.getElementById('trouble');
    trouble.textContent =
      'This page cannot be opened as a file, because a browser keeps it from the files beside it. Let a server of static files ' +
      'serve the folder. On this machine: python -m http.server --bind 127.0.0.1 in the folder, then open http://127.0.0.1:8000';
    trouble.hidden = false;
  });
}
