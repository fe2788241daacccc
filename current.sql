-- Changes of structure since the last release: see migrations/README.md.
-- Weights and offsets in regressions.
drop function ml._design(text, text, text, text);
drop function ml._settled(jsonb);
drop function ml._cross_product(bigint, float8[], float8[], jsonb);
drop function ml._glm_fits(jsonb, text, text, integer, float8);
drop function ml._sandwich(text, text, text, text, text, text, text, integer, float8, text);
drop function ml.linregr_train(text, text, text, text, text, boolean);
drop function ml.logregr_train(text, text, text, text, text, integer, text, float8, boolean);
drop function ml.glm(text, text, text, text, text, text, text, boolean);
drop function ml.robust_variance_linregr(text, text, text, text, text, boolean, text);
drop function ml.robust_variance_logregr(text, text, text, text, text, integer, text, float8, boolean, text);
drop function ml.clustered_variance_linregr(text, text, text, text, text, text);
drop function ml.clustered_variance_logregr(text, text, text, text, text, text, integer, text, float8, boolean);
drop function ml._product_sums(jsonb, text);
drop function ml._sums(text, regclass);
