/* The token of this browser tab, on the start page and on the GraphQL page. */

// A link may carry the token after "#token=", which is not sent to the server; it is removed from the address bar and
// the history.
const given = new URLSearchParams(location.hash.slice(1)).get("token");
if (given !== null) {
  sessionStorage.setItem("token", given);
  history.replaceState(null, "", location.pathname + location.search);
}

export const token = () => sessionStorage.getItem("token") ?? "";
export const signIn = (value) => sessionStorage.setItem("token", value);
export const signOut = () => sessionStorage.removeItem("token");

/** The headers of a request as the signed-in person. */
export const authorization = () => (token() === "" ? {} : { authorization: `Bearer ${token()}` });

/** The server's answer about the token: role, person and whether the GraphQL page is available; or errors. */
export async function whoAmI() {
  return await (await fetch("/me", { headers: authorization() })).json();
}
