// Starts Redoc with the address the page names. Its search runs in a worker made from a blob,
// which the Content-Security-Policy does not allow, and is switched off.
const page = document.getElementById("redoc");
Redoc.init(page.dataset.document, { disableSearch: true, hideLoading: true }, page);
