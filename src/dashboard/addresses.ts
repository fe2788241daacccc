/** Addresses of the pages: the server sends the same file for each, which shows the page. */
export const addresses = {
  overview: "/overview",
  explore: "/explore",
  forYou: "/for-you",
  courses: "/courses",
  recommendations: "/recommendations",
  privacy: "/privacy",
  operations: "/operations",
  queries: "/queries",
} as const;
