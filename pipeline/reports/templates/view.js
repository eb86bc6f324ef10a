// Buttons that open a case in the viewer; on a page from the disk they say which command does.
"use strict";
(() => {
  // by `gridgate view`, whose addresses begin with a token; not by another server on this machine
  const served = ["127.0.0.1", "localhost"].includes(location.hostname)
    && /^\/[\w-]{24}\/(report\.html)?$/.test(location.pathname);
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
  if (served) stayOpen();
})();
