/** Addresses of the pages: the server sends the same file for each, which shows the page. */
export const addresses = {
  overview: "/overview",
  explore: "/explore",
  boards: "/boards",
  forYou: "/for-you",
  courses: "/courses",
  experiments: "/experiments",
  recommendations: "/recommendations",
  models: "/models",
  privacy: "/privacy",
  operations: "/operations",
  queries: "/queries",
} as const;
