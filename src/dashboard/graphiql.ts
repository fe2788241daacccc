/* On the GraphQL page: requests are sent as the signed-in person, unless a header of the page overrides it. */

import { token } from "./session.ts";

const plainFetch = window.fetch;
window.fetch = (input, options = {}) => {
  const url = new URL(input instanceof Request ? input.url : input, location.href);
  const bearer = token();
  if (bearer === undefined || url.origin !== location.origin || url.pathname !== "/graphql") {
    return plainFetch(input, options);
  }
  const headers = new Headers(options.headers ?? (input instanceof Request ? input.headers : {}));
  if (!headers.has("authorization")) headers.set("authorization", `Bearer ${bearer}`);
  return plainFetch(input, { ...options, headers });
};
