create or replace function ml.text_vector(
  document text,
  dimensions int default 512
)
returns vector
language plpgsql
immutable
parallel safe
set search_path from current
set extra_float_digits to 1
as $$
begin
  perform ml._check_dimensions(dimensions);
  return (
    select l2_normalize(
      format('{%s}/%s', string_agg(entry.place || ':' || entry.value::real, ','), dimensions)::sparsevec::vector
    )
    from (
      select
        abs(hashed.place) as place,
        sum(sign(hashed.place) * (1 + ln(hashed.occurrences)) order by hashed.term) as value
      from (
        select terms.term, terms.occurrences, ml._term_place(terms.term, dimensions) as place
        from ml._text_terms(document) as terms
      ) as hashed
      group by abs(hashed.place)
    ) as entry
    where entry.value <> 0
    having count(*) > 0
  );
end;
$$;

comment on function ml.text_vector(text, int) is $$
Returns a vector of length 1 for a text in any language; null when it has no word.
Each term is added or subtracted at a place that its SHA-256 decides, as 1 + ln(occurrences). The cosine of two vectors
is about the cosine of the counts of their terms; with more dimensions it is closer. `ml.content_vectors` also weighs
terms by their rarity among many texts.
Words are compared without case and diacritics. Of Chinese, Japanese, Thai, Lao, Burmese and Khmer, which have no blanks
between words, each two characters that follow one another are a term. The result is the same in every database with
the encoding UTF8. The first 20,000 characters of the text are read.
`dimensions` is from 16 to 16,000. Error: CF001 (dimensions).
Source: Weinberger et al., Feature hashing for large scale multitask learning, ICML 2009.
$$;

grant execute on function ml.text_vector(text, int) to insights_analyst, insights_admin, insights_worker;
