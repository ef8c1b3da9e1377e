// The API reference: /openapi.json in the vendored viewer, in the colours of docs.css.
(() => {
  'use strict';

  const root = document.documentElement;
  const darkSystem = matchMedia('(prefers-color-scheme: dark)');
  const theme = {
    recall() { try { return localStorage.getItem('countersign.theme'); } catch { return null; } },
    keep(name) { try { localStorage.setItem('countersign.theme', name); } catch { /* then not beyond this page */ } },
    isDark() { return root.dataset.theme ? root.dataset.theme === 'dark' : darkSystem.matches; },
  };
  if (['light', 'dark'].includes(theme.recall())) root.dataset.theme = theme.recall();

  const SETTINGS = {
    'server-url': location.origin, // what is tried is tried here, whatever address the document names
    'allow-server-selection': 'false',
    'load-fonts': 'false', // they would come from elsewhere
    'font-size': 'large',
    'schema-description-expanded': 'true',
    'allow-schema-description-expand-toggle': 'false',
    'default-schema-tab': 'example',
    'response-area-height': '240px',
    'show-header': 'false',
    'show-method-in-nav-bar': 'as-colored-text',
    'nav-item-spacing': 'relaxed',
    'allow-spec-url-load': 'false',
    'allow-spec-file-load': 'false',
    'allow-spec-file-download': 'false',
    'allow-advanced-search': 'false',
    'sort-endpoints-by': 'none', // the document's own order
    'persist-auth': 'false',
    'fetch-credentials': 'same-origin',
  };
  const WIDE = { 'render-style': 'read', 'schema-style': 'table' };
  const NARROW = { 'render-style': 'view', 'schema-style': 'tree' }; // the viewer has no side bar there: fold the calls instead

  /** The viewer overlooks a request's single `example`, and makes one up; it honours named `examples`. */
  function withExamplesNamed(description) {
    for (const path of Object.values(description.paths ?? {})) {
      for (const operation of Object.values(path)) {
        for (const media of Object.values(operation?.requestBody?.content ?? {})) {
          if (media.example === undefined || media.examples) continue;
          media.examples = { example: { summary: 'Example', value: media.example } };
          delete media.example;
        }
      }
    }
    return description;
  }

  document.addEventListener('DOMContentLoaded', async () => {
    const button = document.getElementById('theme');
    const narrow = matchMedia('(max-width: 48rem)');
    const viewer = document.createElement('rapi-doc');
    const set = (attributes) => Object.entries(attributes).forEach(([name, value]) => viewer.setAttribute(name, value));
    const show = () => {
      button.setAttribute('aria-pressed', String(theme.isDark()));
      set({ theme: theme.isDark() ? 'dark' : 'light' });
      set(narrow.matches ? NARROW : WIDE);
    };
    button.addEventListener('click', () => {
      root.dataset.theme = theme.isDark() ? 'light' : 'dark';
      theme.keep(root.dataset.theme);
      show();
    });
    darkSystem.addEventListener('change', show);
    narrow.addEventListener('change', show);
    set(SETTINGS);
    show();
    document.getElementById('reference').append(viewer);

    const mended = new CSSStyleSheet(); // what no part or property reaches: a line set 15 px too far left
    mended.replaceSync('#api-info { margin-left: 0; }');
    viewer.shadowRoot.adoptedStyleSheets.push(mended);

    try {
      const answer = await fetch('/openapi.json');
      if (!answer.ok) throw new Error(`it answered ${answer.status}`);
      await viewer.loadSpec(withExamplesNamed(await answer.json()));
    } catch (error) {
      const notice = document.createElement('p');
      notice.className = 'notice';
      notice.setAttribute('role', 'alert');
      notice.textContent = `/openapi.json could not be read: ${error.message}.`;
      viewer.replaceWith(notice);
    }
  });
})();
