// Before anything is painted: the theme that was chosen last time.
(() => {
  "use strict";
  try {
    const theme = localStorage.getItem("gradcheck-theme");
    if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
  } catch {
    // Storage may be forbidden to a local file; the system's theme is right then.
  }
})();
