// Starts Swagger UI with the address the page names; a file of its own, so no script is inline.
const page = document.getElementById("swagger-ui");
SwaggerUIBundle({
  url: page.dataset.document,
  domNode: page,
  deepLinking: true,
  displayRequestDuration: true,
  presets: [SwaggerUIBundle.presets.apis],
  layout: "BaseLayout",
  validatorUrl: null,
  // Authorize adds this header, which auth's CORS answer does not name: the browser would refuse.
  requestInterceptor: (request) => {
    delete request.headers["X-Requested-With"];
    return request;
  },
});
