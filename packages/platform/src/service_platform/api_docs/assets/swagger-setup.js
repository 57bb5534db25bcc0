// Starts Swagger UI with the address the page names; a file of its own, so no script is inline.
const page = document.getElementById("swagger-ui");

// Every scheme's first field has autofocus and the last one wins, scrolled to: the login is above.
const openAtTop = (Dialog, { React }) =>
  class extends React.Component {
    componentDidMount() {
      const content = document.querySelector(".modal-ux-content");
      content.querySelector("input")?.focus({ preventScroll: true });
      content.scrollTop = 0;
    }

    render() {
      return React.createElement(Dialog, this.props);
    }
  };

SwaggerUIBundle({
  url: page.dataset.document,
  domNode: page,
  deepLinking: true,
  displayRequestDuration: true,
  presets: [SwaggerUIBundle.presets.apis],
  plugins: [{ wrapComponents: { authorizationPopup: openAtTop } }],
  layout: "BaseLayout",
  validatorUrl: null,
  // Authorize adds this header, which auth's CORS answer does not name: the browser would refuse.
  requestInterceptor: (request) => {
    delete request.headers["X-Requested-With"];
    return request;
  },
});
