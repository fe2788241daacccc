/* On the GraphQL page: requests are sent as the signed-in person, unless a header of the page overrides it. */

import { authorization } from "./session.ts";

const plainFetch = window.fetch;
window.fetch = (input, options = {}) => {
  const url = new URL(input instanceof Request ? input.url : input, location.href);
  if (url.origin !== location.origin || url.pathname !== "/graphql") return plainFetch(input, options);
  const headers = new Headers(options.headers ?? (input instanceof Request ? input.headers : {}));
  for (const [name, value] of Object.entries(authorization())) if (!headers.has(name)) headers.set(name, value);
  return plainFetch(input, { ...options, headers });
};
