-- Changes of structure since the last release: see migrations/README.md.

create type ml.class_probability as (
  class text,
  probability float8
);

comment on type ml.class_probability is $$A class and its probability, as `ml.predict_classes` returns them.$$;
comment on column ml.class_probability.class is $$Name of the class.$$;
comment on column ml.class_probability.probability is $$Probability of the class, between 0 and 1.$$;

drop function if exists ml._tree_score(bigint, jsonb, jsonb);
drop function if exists ml._gbm_document(text, text[], text);
drop function if exists ml._linear_document(text, text[], text, text, jsonb);
