-- Changes of structure since the last release: see migrations/README.md.

-- The features of a training leave out the columns of the label.
drop function ml._tree_features(regclass, text, text, text[]);

-- k-means from several starts.
drop function ml._kmeans_points(regclass, text, bigint, boolean);
drop function ml._kmeans_run(int, text, text, int, float8, float8, bigint);
drop function ml.kmeanspp(text, text, int, text, text, int, float8, float8, bigint);
drop function ml.kmeanspp_auto(text, text, text, int[], text, text, int, float8, float8, text, bigint);
