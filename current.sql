-- Changes of structure since the last release: see migrations/README.md.

-- The features of a training leave out the columns of the label.
drop function ml._tree_features(regclass, text, text, text[]);

-- k-means from several starts.
drop function ml._kmeans_points(regclass, text, bigint, boolean);
drop function ml._kmeans_run(int, text, text, int, float8, float8, bigint);
drop function ml.kmeanspp(text, text, int, text, text, int, float8, float8, bigint);
drop function ml.kmeanspp_auto(text, text, text, int[], text, text, int, float8, float8, text, bigint);

-- Corrections for small samples of robust standard errors.
drop function ml._sandwich_statement(jsonb, text, text, text[], float8[], integer[]);
drop function ml._sandwich(text, text, text, text, text, text, text, integer, float8);
drop function ml.robust_variance_linregr(text, text, text, text, text);
drop function ml.robust_variance_logregr(text, text, text, text, text, integer, text, float8, boolean);
