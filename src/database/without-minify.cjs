/*
 * Loaded before graphile-migrate. It asks pg-minify whether current.sql is empty and whether it has changed; pg-minify
 * knows no dollar quotes, so that an apostrophe in a comment stops it. The text itself answers both questions as well.
 */
const { createRequire } = require("node:module");

const path = createRequire(require.resolve("graphile-migrate")).resolve("pg-minify");
require.cache[path] = Object.assign(new module.constructor(path), { exports: (sql) => sql.trim(), loaded: true });
