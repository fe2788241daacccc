/* Who is signed in, on the start page and on the GraphQL page: the token of this tab. */

// A link may carry the token behind "#token=", which no server sees; it does not stay in the address bar or the history.
const given = new URLSearchParams(location.hash.slice(1)).get("token");
if (given !== null) {
  sessionStorage.setItem("token", given);
  history.replaceState(null, "", location.pathname + location.search);
}

export const token = () => sessionStorage.getItem("token") ?? "";
export const signIn = (value) => sessionStorage.setItem("token", value);
export const signOut = () => sessionStorage.removeItem("token");

/** The headers of a request in the name of who is signed in. */
export const authorization = () => (token() === "" ? {} : { authorization: `Bearer ${token()}` });

/** What the server makes of the token: role, person and whether it has the GraphQL page; or errors. */
export async function whoAmI() {
  return await (await fetch("/me", { headers: authorization() })).json();
}
