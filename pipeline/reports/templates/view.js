// Buttons that open a case in the viewer; on a page from the disk they say which command does.
"use strict";
(() => {
  const served = ["127.0.0.1", "localhost"].includes(location.hostname);
  const dialog = document.querySelector("dialog.view");
  const command = dialog.querySelector("pre");
  const asWord = (text) => (/^[\w.\/-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);
  for (const button of document.querySelectorAll("button.view")) {
    button.addEventListener("click", () => {
      const name = button.dataset.case;
      if (served) {
        location.href = `view?case=${encodeURIComponent(name)}`;
        return;
      }
      dialog.querySelector("strong").textContent = button.dataset.folder;
      command.textContent = `gridgate view ${asWord(button.dataset.folder)} --case ${asWord(name)}`;
      dialog.showModal();
    });
  }
  if (served) new EventSource("alive");   // the server ends when the page is closed
})();
