-- Changes of structure since the last release: see migrations/README.md.

-- A leaf of a forest of several classes has a value for each class.
alter table ml.tree_node
  add column if not exists class_values float8[],
  drop constraint if exists tree_node_check2,
  add constraint tree_node_check2 check (num_nonnulls(feature, value, class_values) = 1);
comment on column ml.tree_node.value is $$
Contribution of a leaf to the score; null in a tree of several classes.
$$;
comment on column ml.tree_node.class_values is $$
Contribution of a leaf to the score of each class, in a tree of several classes; null in trees of one score.
$$;
drop function if exists ml._tree_values(bigint, jsonb);
drop function if exists ml._explain(ml.model, text, text, text, text);
drop function if exists ml.explain(text, jsonb, int);
drop function if exists ml.explain_each(text, anyarray, int);
comment on column ml.contribution.feature_value is $$
Its value as text; null when missing. With several classes, that of `(base)` is the class whose score is explained.
$$;
