// The server of `gridgate view` ends when its last page is closed, so each page says that it is open.
"use strict";
function stayOpen() {
  const page = crypto.randomUUID();
  const open = () => fetch(`alive?page=${page}`).catch(() => {});
  open();
  setInterval(open, 2000);
  window.addEventListener("pageshow", open);
  window.addEventListener("pagehide", () => navigator.sendBeacon(`closed?page=${page}`));
}
