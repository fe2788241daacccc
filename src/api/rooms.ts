/** The schemas that the API reflects, in dependency order. */
export const rooms = ["ml", "privacy", "track", "experiment", "analytics", "recommend", "monitor"];
