create or replace function ml._text_terms(document text)
returns table (term text, occurrences int)
language sql
immutable
strict
parallel safe
set search_path to pg_catalog, pg_temp
begin atomic
  /*
   * The terms do not depend on the locale of the database: characters are decomposed (NFKD), lose the diacritics of
   * Latin, Greek and Cyrillic, of Arabic and Hebrew, and are lowered by a table. So İ, I, ı and i are one letter.
   * A collation "C" compares code points. Han, kana and the scripts of South-East Asia are written without blanks:
   * of these, each two characters that follow one another are a term.
   */
  select left(term.term, 64), count(*)::int
  from (
    select normalize(
      lower(
        translate(
          regexp_replace(
            normalize(left(_text_terms.document, 20000), nfkd) collate "C",
            '[\u0300-\u036f\u0591-\u05bd\u05bf-\u05c7\u0640\u064b-\u065f\u0670\u200b-\u200d\ufe00-\ufe0f]',
            '',
            'g'
          ),
          'ıØøŁłĐđĦħÐðÞÆŒŊẞ'
            'ΑΒΓΔΕΖΗΘΙΚΛΜΝΞΟΠΡΣΤΥΦΧΨΩς'
            'АБВГДЕЖЗИКЛМНОПРСТУФХЦЧШЩЪЫЬЭЮЯІЄЂЃЅЈЉЊЋЏҐӘӨҮҢҒҚҰҺ',
          'ioollddhhððþæœŋß'
            'αβγδεζηθικλμνξοπρστυφχψωσ'
            'абвгдежзиклмнопрстуфхцчшщъыьэюяієђѓѕјљњћџґәөүңғқұһ'
        ) collate "C"
      ),
      nfkc
    ) collate "C" as document
  ) as folded
  cross join lateral regexp_matches(
    folded.document,
    '([\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u9fff'
      '\uf900-\ufaff\U00020000-\U0003ffff]+)'
      '|([^\u0001-\u002f\u003a-\u0040\u005b-\u0060\u007b-\u00bf\u00d7\u00f7\u02b9-\u02df\u055a-\u055f\u0589\u058a'
      '\u05be\u05f3\u05f4\u060c\u061b\u061f\u066a-\u066d\u06d4\u0964\u0965\u0e00-\u0eff\u1000-\u109f\u1361-\u1368'
      '\u1780-\u17ff\u2000-\u2bff\u2e00-\u2e7f\u3000-\u30ff\u31f0-\u31ff\u3400-\u9fff\ue000-\ufaff\ufe10-\ufe6b'
      '\uff00-\uff0f\uff1a-\uff20\ufff0-\uffff\U0001f000-\U0003ffff\U000e0000-\U0010ffff]+)',
    'g'
  ) as part
  cross join lateral (
    select part[2] as term
    where part[2] is not null
    union all
    select coalesce(
      letter.character || lead(letter.character) over (order by letter.place),
      case when letter.place = 1 then letter.character end
    )
    from unnest(string_to_array(part[1], null)) with ordinality as letter (character, place)
  ) as term
  where term.term is not null
  group by left(term.term, 64);
end;

comment on function ml._text_terms(text) is $$
Returns the terms of a text and how often each occurs: words without case and diacritics.
Of scripts without blanks the terms are pairs of characters. The first 20,000 characters of the text are read, and the
first 64 of a word.
$$;

grant execute on function ml._text_terms(text) to insights_analyst, insights_admin, insights_worker;
