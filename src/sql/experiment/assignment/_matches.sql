/* PostgreSQL holds no surrogates in text, so the 2,048 last characters of Unicode, for private use, stand for them. */
create or replace function experiment._units(value text)
returns text
language plpgsql
immutable
strict
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  if _units.value !~ '[\U00010000-\U0010ffff]' collate "C" then
    return _units.value;
  end if;
  return (
    select string_agg(experiment._unit(unit.unit), '' order by unit.number)
    from unnest(experiment._code_units(_units.value)) with ordinality as unit (unit, number)
  );
end;
$$;

comment on function experiment._units(text) is $$
Returns a text with a character for each UTF-16 code unit, as a regular expression of JavaScript reads it.
$$;

grant execute on function experiment._units(text)
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;

create or replace function experiment._unit(unit int)
returns text
language sql
immutable
parallel safe
begin atomic
  select chr(case when _unit.unit between 55296 and 57343 then 1056768 + _unit.unit else _unit.unit end);
end;

comment on function experiment._unit(integer) is $$
Returns the character that stands for a UTF-16 code unit.
$$;

grant execute on function experiment._unit(integer)
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;

/*
 * A regular expression of JavaScript compares the code units of the upper case, of those that have one and are not
 * mapped to ASCII. The characters are those of Unicode 17.
 */
create or replace function experiment._cased()
returns text
language sql
immutable
parallel safe
begin atomic
  select 'abcdefghijklmnopqrstuvwxyz'
    'µàáâãäåæçèéêëìíîïðñòóôõöøùúûüýþÿāăąćĉċčďđēĕėęěĝğġģĥħĩīĭįĳĵķĺļľŀłńņňŋōŏőœŕŗřśŝşšţťŧũūŭůűųŵŷźżžƀƃƅƈƌƒƕ'
    'ƙƚƛƞơƣƥƨƭưƴƶƹƽƿǅǆǈǉǋǌǎǐǒǔǖǘǚǜǝǟǡǣǥǧǩǫǭǯǲǳǵǹǻǽǿȁȃȅȇȉȋȍȏȑȓȕȗșțȝȟȣȥȧȩȫȭȯȱȳȼȿɀɂɇɉɋɍɏɐɑɒɓɔɖɗəɛɜɠɡɣɤɥɦɨɩɪɫ'
    'ɬɯɱɲɵɽʀʂʃʇʈʉʊʋʌʒʝʞͅͱͳͷͻͼͽάέήίαβγδεζηθικλμνξοπρςστυφχψωϊϋόύώϐϑϕϖϗϙϛϝϟϡϣϥϧϩϫϭϯϰϱϲϳϵϸϻабвгдежзийклмнопр'
    'стуфхцчшщъыьэюяѐёђѓєѕіїјљњћќѝўџѡѣѥѧѩѫѭѯѱѳѵѷѹѻѽѿҁҋҍҏґғҕҗҙқҝҟҡңҥҧҩҫҭүұҳҵҷҹһҽҿӂӄӆӈӊӌӎӏӑӓӕӗәӛӝӟӡӣӥӧөӫӭӯӱ'
    'ӳӵӷӹӻӽӿԁԃԅԇԉԋԍԏԑԓԕԗԙԛԝԟԡԣԥԧԩԫԭԯաբգդեզէըթժիլխծկհձղճմյնշոչպջռսվտրցւփքօֆაბგდევზთიკლმნოპჟრსტუფქღყშჩცძწჭხ'
    'ჯჰჱჲჳჴჵჶჷჸჹჺჽჾჿᏸᏹᏺᏻᏼᏽᲀᲁᲂᲃᲄᲅᲆᲇᲈᲊᵹᵽᶎḁḃḅḇḉḋḍḏḑḓḕḗḙḛḝḟḡḣḥḧḩḫḭḯḱḳḵḷḹḻḽḿṁṃṅṇṉṋṍṏṑṓṕṗṙṛṝṟṡṣṥṧṩṫṭṯṱṳṵṷṹṻṽṿẁẃ'
    'ẅẇẉẋẍẏẑẓẕẛạảấầẩẫậắằẳẵặẹẻẽếềểễệỉịọỏốồổỗộớờởỡợụủứừửữựỳỵỷỹỻỽỿἀἁἂἃἄἅἆἇἐἑἒἓἔἕἠἡἢἣἤἥἦἧἰἱἲἳἴἵἶἷὀὁὂὃὄὅὑὓὕὗὠὡ'
    'ὢὣὤὥὦὧὰάὲέὴήὶίὸόὺύὼώᾰᾱιῐῑῠῡῥⅎⅰⅱⅲⅳⅴⅵⅶⅷⅸⅹⅺⅻⅼⅽⅾⅿↄⓐⓑⓒⓓⓔⓕⓖⓗⓘⓙⓚⓛⓜⓝⓞⓟⓠⓡⓢⓣⓤⓥⓦⓧⓨⓩⰰⰱⰲⰳⰴⰵⰶⰷⰸⰹⰺⰻⰼⰽⰾⰿⱀⱁⱂⱃⱄⱅⱆⱇⱈⱉⱊⱋ'
    'ⱌⱍⱎⱏⱐⱑⱒⱓⱔⱕⱖⱗⱘⱙⱚⱛⱜⱝⱞⱟⱡⱥⱦⱨⱪⱬⱳⱶⲁⲃⲅⲇⲉⲋⲍⲏⲑⲓⲕⲗⲙⲛⲝⲟⲡⲣⲥⲧⲩⲫⲭⲯⲱⲳⲵⲷⲹⲻⲽⲿⳁⳃⳅⳇⳉⳋⳍⳏⳑⳓⳕⳗⳙⳛⳝⳟⳡⳣⳬⳮⳳⴀⴁⴂⴃⴄⴅⴆⴇⴈⴉⴊⴋⴌⴍⴎⴏⴐⴑⴒ'
    'ⴓⴔⴕⴖⴗⴘⴙⴚⴛⴜⴝⴞⴟⴠⴡⴢⴣⴤⴥⴧⴭꙁꙃꙅꙇꙉꙋꙍꙏꙑꙓꙕꙗꙙꙛꙝꙟꙡꙣꙥꙧꙩꙫꙭꚁꚃꚅꚇꚉꚋꚍꚏꚑꚓꚕꚗꚙꚛꜣꜥꜧꜩꜫꜭꜯꜳꜵꜷꜹꜻꜽꜿꝁꝃꝅꝇꝉꝋꝍꝏꝑꝓꝕꝗꝙꝛꝝꝟꝡꝣꝥꝧꝩꝫꝭꝯꝺꝼꝿꞁ'
    'ꞃꞅꞇꞌꞑꞓꞔꞗꞙꞛꞝꞟꞡꞣꞥꞧꞩꞵꞷꞹꞻꞽꞿꟁꟃꟈꟊꟍ꟏ꟑꟓꟕꟗꟙꟛꟶꭓꭰꭱꭲꭳꭴꭵꭶꭷꭸꭹꭺꭻꭼꭽꭾꭿꮀꮁꮂꮃꮄꮅꮆꮇꮈꮉꮊꮋꮌꮍꮎꮏꮐꮑꮒꮓꮔꮕꮖꮗꮘꮙꮚꮛꮜꮝꮞꮟꮠꮡꮢꮣꮤꮥꮦꮧꮨꮩꮪꮫꮬꮭꮮ'
    'ꮯꮰꮱꮲꮳꮴꮵꮶꮷꮸꮹꮺꮻꮼꮽꮾꮿａｂｃｄｅｆｇｈｉｊｋｌｍｎｏｐｑｒｓｔｕｖｗｘｙｚ';
end;

comment on function experiment._cased() is $$
Returns the characters that a case-insensitive regular expression of JavaScript maps to others.
$$;

grant execute on function experiment._cased()
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;

create or replace function experiment._capitals()
returns text
language sql
immutable
parallel safe
begin atomic
  select 'ABCDEFGHIJKLMNOPQRSTUVWXYZ'
    'ΜÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÐÑÒÓÔÕÖØÙÚÛÜÝÞŸĀĂĄĆĈĊČĎĐĒĔĖĘĚĜĞĠĢĤĦĨĪĬĮĲĴĶĹĻĽĿŁŃŅŇŊŌŎŐŒŔŖŘŚŜŞŠŢŤŦŨŪŬŮŰŲŴŶŹŻŽɃƂƄƇƋƑǶ'
    'ƘȽꟜȠƠƢƤƧƬƯƳƵƸƼǷǄǄǇǇǊǊǍǏǑǓǕǗǙǛƎǞǠǢǤǦǨǪǬǮǱǱǴǸǺǼǾȀȂȄȆȈȊȌȎȐȒȔȖȘȚȜȞȢȤȦȨȪȬȮȰȲȻⱾⱿɁɆɈɊɌɎⱯⱭⱰƁƆƉƊƏƐꞫƓꞬƔꟋꞍꞪƗƖꞮⱢ'
    'ꞭƜⱮƝƟⱤƦꟅƩꞱƮɄƱƲɅƷꞲꞰΙͰͲͶϽϾϿΆΈΉΊΑΒΓΔΕΖΗΘΙΚΛΜΝΞΟΠΡΣΣΤΥΦΧΨΩΪΫΌΎΏΒΘΦΠϏϘϚϜϞϠϢϤϦϨϪϬϮΚΡϹͿΕϷϺАБВГДЕЖЗИЙКЛМНОПР'
    'СТУФХЦЧШЩЪЫЬЭЮЯЀЁЂЃЄЅІЇЈЉЊЋЌЍЎЏѠѢѤѦѨѪѬѮѰѲѴѶѸѺѼѾҀҊҌҎҐҒҔҖҘҚҜҞҠҢҤҦҨҪҬҮҰҲҴҶҸҺҼҾӁӃӅӇӉӋӍӀӐӒӔӖӘӚӜӞӠӢӤӦӨӪӬӮӰ'
    'ӲӴӶӸӺӼӾԀԂԄԆԈԊԌԎԐԒԔԖԘԚԜԞԠԢԤԦԨԪԬԮԱԲԳԴԵԶԷԸԹԺԻԼԽԾԿՀՁՂՃՄՅՆՇՈՉՊՋՌՍՎՏՐՑՒՓՔՕՖᲐᲑᲒᲓᲔᲕᲖᲗᲘᲙᲚᲛᲜᲝᲞᲟᲠᲡᲢᲣᲤᲥᲦᲧᲨᲩᲪᲫᲬᲭᲮ'
    'ᲯᲰᲱᲲᲳᲴᲵᲶᲷᲸᲹᲺᲽᲾᲿᏰᏱᏲᏳᏴᏵВДОСТТЪѢꙊᲉꝽⱣꟆḀḂḄḆḈḊḌḎḐḒḔḖḘḚḜḞḠḢḤḦḨḪḬḮḰḲḴḶḸḺḼḾṀṂṄṆṈṊṌṎṐṒṔṖṘṚṜṞṠṢṤṦṨṪṬṮṰṲṴṶṸṺṼṾẀẂ'
    'ẄẆẈẊẌẎẐẒẔṠẠẢẤẦẨẪẬẮẰẲẴẶẸẺẼẾỀỂỄỆỈỊỌỎỐỒỔỖỘỚỜỞỠỢỤỦỨỪỬỮỰỲỴỶỸỺỼỾἈἉἊἋἌἍἎἏἘἙἚἛἜἝἨἩἪἫἬἭἮἯἸἹἺἻἼἽἾἿὈὉὊὋὌὍὙὛὝὟὨὩ'
    'ὪὫὬὭὮὯᾺΆῈΈῊΉῚΊῸΌῪΎῺΏᾸᾹΙῘῙῨῩῬℲⅠⅡⅢⅣⅤⅥⅦⅧⅨⅩⅪⅫⅬⅭⅮⅯↃⒶⒷⒸⒹⒺⒻⒼⒽⒾⒿⓀⓁⓂⓃⓄⓅⓆⓇⓈⓉⓊⓋⓌⓍⓎⓏⰀⰁⰂⰃⰄⰅⰆⰇⰈⰉⰊⰋⰌⰍⰎⰏⰐⰑⰒⰓⰔⰕⰖⰗⰘⰙⰚⰛ'
    'ⰜⰝⰞⰟⰠⰡⰢⰣⰤⰥⰦⰧⰨⰩⰪⰫⰬⰭⰮⰯⱠȺȾⱧⱩⱫⱲⱵⲀⲂⲄⲆⲈⲊⲌⲎⲐⲒⲔⲖⲘⲚⲜⲞⲠⲢⲤⲦⲨⲪⲬⲮⲰⲲⲴⲶⲸⲺⲼⲾⳀⳂⳄⳆⳈⳊⳌⳎⳐⳒⳔⳖⳘⳚⳜⳞⳠⳢⳫⳭⳲႠႡႢႣႤႥႦႧႨႩႪႫႬႭႮႯႰႱႲ'
    'ႳႴႵႶႷႸႹႺႻႼႽႾႿჀჁჂჃჄჅჇჍꙀꙂꙄꙆꙈꙊꙌꙎꙐꙒꙔꙖꙘꙚꙜꙞꙠꙢꙤꙦꙨꙪꙬꚀꚂꚄꚆꚈꚊꚌꚎꚐꚒꚔꚖꚘꚚꜢꜤꜦꜨꜪꜬꜮꜲꜴꜶꜸꜺꜼꜾꝀꝂꝄꝆꝈꝊꝌꝎꝐꝒꝔꝖꝘꝚꝜꝞꝠꝢꝤꝦꝨꝪꝬꝮꝹꝻꝾꞀ'
    'ꞂꞄꞆꞋꞐꞒꟄꞖꞘꞚꞜꞞꞠꞢꞤꞦꞨꞴꞶꞸꞺꞼꞾꟀꟂꟇꟉꟌ꟎Ꟑ꟒꟔ꟖꟘꟚꟵꞳᎠᎡᎢᎣᎤᎥᎦᎧᎨᎩᎪᎫᎬᎭᎮᎯᎰᎱᎲᎳᎴᎵᎶᎷᎸᎹᎺᎻᎼᎽᎾᎿᏀᏁᏂᏃᏄᏅᏆᏇᏈᏉᏊᏋᏌᏍᏎᏏᏐᏑᏒᏓᏔᏕᏖᏗᏘᏙᏚᏛᏜᏝᏞ'
    'ᏟᏠᏡᏢᏣᏤᏥᏦᏧᏨᏩᏪᏫᏬᏭᏮᏯＡＢＣＤＥＦＧＨＩＪＫＬＭＮＯＰＱＲＳＴＵＶＷＸＹＺ';
end;

comment on function experiment._capitals() is $$
Returns the characters to which a case-insensitive regular expression of JavaScript maps those of `experiment._cased`.
$$;

grant execute on function experiment._capitals()
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;

create or replace function experiment._canonical(value text)
returns text
language plpgsql
immutable
strict
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  if octet_length(_canonical.value) = length(_canonical.value) then
    return upper(_canonical.value collate "C");
  end if;
  return translate(
    upper(_canonical.value collate "C"), substr(experiment._cased(), 27), substr(experiment._capitals(), 27)
  );
end;
$$;

comment on function experiment._canonical(text) is $$
Returns a text as a case-insensitive regular expression of JavaScript compares it.
$$;

grant execute on function experiment._canonical(text)
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;

create or replace function experiment._one_unit(unit int)
returns int4multirange
language sql
immutable
parallel safe
begin atomic
  select int4multirange(int4range(_one_unit.unit, _one_unit.unit, '[]'));
end;

comment on function experiment._one_unit(integer) is $$
Returns a set of one code unit.
$$;

grant execute on function experiment._one_unit(integer)
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;

create or replace function experiment._unit_number(letter text)
returns int
language sql
immutable
parallel safe
begin atomic
  select case when ascii(_unit_number.letter) < 65536 then 0 else -1056768 end + ascii(_unit_number.letter);
end;

comment on function experiment._unit_number(text) is $$
Returns the UTF-16 code unit for which a character stands.
$$;

grant execute on function experiment._unit_number(text)
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;

create or replace function experiment._unit_class(letter text)
returns int4multirange
language sql
immutable
parallel safe
begin atomic
  select case
    when _unit_class.letter in ('D', 'W', 'S', '.') then '{[0,65536)}'::int4multirange
    else '{}'::int4multirange
  end + case when _unit_class.letter in ('d', 'w', 's') then class.units else '{}' end
  - case when _unit_class.letter in ('D', 'W', 'S', '.') then class.units else '{}' end
  from (
    values
      ('d', '{[48,58)}'::int4multirange),
      ('w', '{[48,58),[65,91),[95,96),[97,123)}'),
      (
        's',
        '{[9,14),[32,33),[160,161),[5760,5761),[8192,8203),[8232,8234),[8239,8240),[8287,8288),[12288,12289),'
          '[65279,65280)}'
      ),
      ('.', '{[10,11),[13,14),[8232,8234)}')
  ) as class (letter, units)
  where class.letter = lower(_unit_class.letter);
end;

comment on function experiment._unit_class(text) is $$
Returns the code units of a class escape of JavaScript, such as `\d`, or of the full stop; null for another letter.
$$;

grant execute on function experiment._unit_class(text)
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;

create or replace function experiment._canonical_units(units int4multirange)
returns int4multirange
language sql
immutable
parallel safe
begin atomic
  select _canonical_units.units + coalesce(
    case
      when _canonical_units.units @> '{[0,65536)}'::int4multirange then '{}'::int4multirange
      when upper(_canonical_units.units) <= 128 then (
        select range_agg(int4range(letter - 32, letter - 32, '[]'))
        from generate_series(97, 122) as letter
        where letter <@ _canonical_units.units
      )
      else (
        select range_agg(int4range(ascii(mapped.value), ascii(mapped.value), '[]'))
        from unnest(
          string_to_array(experiment._cased(), null),
          string_to_array(experiment._capitals(), null)
        ) as mapped (letter, value)
        where ascii(mapped.letter) <@ _canonical_units.units
      )
    end,
    '{}'
  );
end;

comment on function experiment._canonical_units(int4multirange) is $$
Returns code units and those to which a case-insensitive regular expression of JavaScript maps them.
$$;

grant execute on function experiment._canonical_units(int4multirange)
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;

create or replace function experiment._bracket(units int4multirange)
returns text
language sql
immutable
parallel safe
begin atomic
  -- U+0000 is in no text; the surrogates are the characters that stand for them.
  select case
    when bracket.members is null then '[^\u0001-\U0010ffff]'
    else '[' || bracket.members || ']'
  end
  from (
    select string_agg(
      '\U' || lpad(to_hex(part.low), 8, '0') || '-\U' || lpad(to_hex(part.high), 8, '0'), '' order by part.low
    ) as members
    from (
      select lower(range.range) as low, upper(range.range) - 1 as high
      from unnest(_bracket.units * '{[1,55296),[57344,65536)}'::int4multirange) as range (range)
      union all
      select lower(range.range) + 1056768, upper(range.range) - 1 + 1056768
      from unnest(_bracket.units * '{[55296,57344)}'::int4multirange) as range (range)
    ) as part
  ) as bracket;
end;

comment on function experiment._bracket(int4multirange) is $$
Returns the bracket expression of PostgreSQL for a set of code units.
$$;

grant execute on function experiment._bracket(int4multirange)
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;

create or replace function experiment._regex_escape(rest text, in_class boolean, out unit int, out length int)
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_letter text := substr(_regex_escape.rest, 2, 1);
  v_hex text := coalesce(
    (regexp_match(_regex_escape.rest, '^\\x([0-9a-fA-F]{2})'))[1],
    (regexp_match(_regex_escape.rest, '^\\u([0-9a-fA-F]{4})'))[1]
  );
begin
  if v_hex is not null then
    _regex_escape.unit := experiment._js_number(to_jsonb('0x' || v_hex));
    _regex_escape.length := 2 + length(v_hex);
  elsif _regex_escape.rest ~ '^\\c[A-Za-z]' or _regex_escape.in_class and _regex_escape.rest ~ '^\\c[0-9_]' then
    _regex_escape.unit := ascii(substr(_regex_escape.rest, 3, 1)) % 32;
    _regex_escape.length := 3;
  elsif v_letter = 'c' then
    _regex_escape.unit := 92;
    _regex_escape.length := 1;
  else
    _regex_escape.unit := case v_letter
      when '0' then 0
      when 't' then 9
      when 'n' then 10
      when 'v' then 11
      when 'f' then 12
      when 'r' then 13
      else case when v_letter = 'b' and _regex_escape.in_class then 8 else experiment._unit_number(v_letter) end
    end;
    _regex_escape.length := 2;
  end if;
end;
$$;

comment on function experiment._regex_escape(text, boolean) is $$
Returns the code unit of an escape of JavaScript at the start of a text, and the length of the escape.
$$;

grant execute on function experiment._regex_escape(text, boolean)
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;

create or replace function experiment._refuse_regex(pattern text, problem text)
returns void
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  perform common.refuse(
    case
      when _refuse_regex.problem like 'has more%' or _refuse_regex.problem like 'is too%' then 'CF008'
      else 'CF009'
    end,
    format('the regular expression "%s" %s', left(_refuse_regex.pattern, 100), left(_refuse_regex.problem, 100)),
    'Write it without, such as with several conditions.'
  );
end;
$$;

comment on function experiment._refuse_regex(text, text) is $$
Raises CF008 or CF009 for a regular expression that the database does not evaluate.
$$;

grant execute on function experiment._refuse_regex(text, text)
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;

create or replace function experiment._regex_class(
  pattern text,
  class text,
  insensitive boolean,
  out units int4multirange,
  out length int
)
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_is_negated boolean := starts_with(_regex_class.class, '[^');
  v_at int := case when v_is_negated then 3 else 2 end;
  v_rest text;
  v_low int;
  v_pending boolean := false;
  v_member int4multirange;
  v_unit int;
  v_step int;
begin
  if length(_regex_class.class) > 1000 then
    perform experiment._refuse_regex(_regex_class.pattern, 'is too long');
  end if;
  _regex_class.units := '{}';
  loop
    v_rest := substr(_regex_class.class, v_at, 8);
    if v_rest = '' then
      -- The class does not end.
      _regex_class.units := null;
      return;
    end if;
    exit when starts_with(v_rest, ']');
    if v_rest ~ '^\\[0-9]' and v_rest !~ '^\\0([^0-9]|$)' then
      perform experiment._refuse_regex(_regex_class.pattern, 'refers back to a group or has an octal number');
    end if;
    v_member := null;
    if starts_with(v_rest, '\') then
      if v_rest = '\' then
        _regex_class.units := null;
        return;
      end if;
      v_member := case when v_rest !~ '^\\\.' then experiment._unit_class(substr(v_rest, 2, 1)) end;
      if v_member is null then
        select escape.unit, escape.length into v_unit, v_step from experiment._regex_escape(v_rest, true) as escape;
      else
        v_step := 2;
      end if;
    else
      v_unit := experiment._unit_number(left(v_rest, 1));
      v_step := 1;
    end if;
    v_at := v_at + v_step;
    -- A range follows unless the hyphen is the last of the class.
    if v_pending then
      if v_low is null or v_member is not null then
        _regex_class.units := _regex_class.units + experiment._one_unit(45);
        _regex_class.units := _regex_class.units + coalesce(v_member, experiment._one_unit(v_unit));
      elsif v_unit < v_low then
        _regex_class.units := null;
        return;
      else
        _regex_class.units := _regex_class.units + int4multirange(int4range(v_low, v_unit, '[]'));
      end if;
      v_pending := false;
      v_low := null;
    else
      v_low := case when v_member is null then v_unit end;
      _regex_class.units := _regex_class.units + coalesce(v_member, experiment._one_unit(v_unit));
      if substr(_regex_class.class, v_at, 1) = '-' and substr(_regex_class.class, v_at + 1, 1) not in ('', ']') then
        v_pending := true;
        v_at := v_at + 1;
      end if;
    end if;
  end loop;
  _regex_class.length := v_at;
  if _regex_class.insensitive then
    _regex_class.units := experiment._canonical_units(_regex_class.units);
  end if;
  if v_is_negated then
    _regex_class.units := int4multirange(int4range(0, 65536)) - _regex_class.units;
  end if;
end;
$$;

comment on function experiment._regex_class(text, text, boolean) is $$
Returns the code units of a class such as `[a-z]` at the start of a text, and its length; no units if it is not valid.
$$;

grant execute on function experiment._regex_class(text, text, boolean)
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;

/*
 * One pass over the characters of the pattern. The stack holds the kinds of the open groups and where they start in the
 * result. A quantifier does not repeat an assertion: it removes it or leaves it.
 */
create or replace function experiment._regex(pattern text, insensitive boolean)
returns text
language plpgsql
immutable
strict
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_pattern text := experiment._units(_regex.pattern);
  v_length int := length(v_pattern);
  v_at int := 1;
  v_result text := '';
  v_stack text[] := '{}';
  v_names text[] := '{}';
  v_starts int[] := '{}';
  v_start int;
  v_kind text := 'none';
  v_letter text;
  v_rest text;
  v_parts text[];
  v_unit int;
  v_units int4multirange;
begin
  if v_length > 1000 then
    perform experiment._refuse_regex(_regex.pattern, 'has more than 1000 characters');
  end if;
  while v_at <= v_length loop
    v_letter := substr(v_pattern, v_at, 1);
    v_rest := substr(v_pattern, v_at, 300);
    v_parts := null;
    v_units := null;
    if v_letter ~ '[A-Za-z0-9_ ]' then
      v_start := length(v_result);
      v_result := v_result || case when _regex.insensitive then upper(v_letter collate "C") else v_letter end;
      v_kind := 'atom';
      v_at := v_at + 1;
    elsif v_letter in ('^', '$', '|') then
      v_result := v_result || v_letter;
      v_kind := 'none';
      v_at := v_at + 1;
    elsif v_letter = '(' then
      v_parts := regexp_match(v_rest, '^\((\?(?:[:=!]|<[=!]|<[A-Za-z_$][A-Za-z0-9_$]*>))?');
      if v_parts[1] is null and v_rest ~ '^\(\?[ims-]*:' then
        perform experiment._refuse_regex(_regex.pattern, 'changes its flags within');
      elsif v_parts[1] is null and starts_with(v_rest, '(?<') and v_rest ~ '^\(\?<[^>]*[^[:ascii:]]' then
        perform experiment._refuse_regex(_regex.pattern, 'names a group in other than ASCII letters');
      elsif v_parts[1] is null and starts_with(v_rest, '(?') then
        return null;
      end if;
      if v_parts[1] = any (v_names) and v_parts[1] like '?<%>' then
        perform experiment._refuse_regex(_regex.pattern, 'names two groups alike');
      end if;
      v_names := v_names || v_parts[1];
      v_stack := v_stack || coalesce(v_parts[1], '');
      v_starts := v_starts || length(v_result);
      v_result := v_result || case
        when v_parts[1] in ('?=', '?!', '?<=', '?<!') then '(' || v_parts[1]
        else '(?:'
      end;
      v_kind := 'none';
      v_at := v_at + 1 + coalesce(length(v_parts[1]), 0);
    elsif v_letter = ')' then
      if cardinality(v_stack) = 0 then
        return null;
      end if;
      v_result := v_result || ')';
      v_start := v_starts[cardinality(v_starts)];
      v_kind := case
        when v_stack[cardinality(v_stack)] in ('?=', '?!') then 'assertion'
        when v_stack[cardinality(v_stack)] in ('?<=', '?<!') then 'none'
        else 'atom'
      end;
      v_stack := trim_array(v_stack, 1);
      v_starts := trim_array(v_starts, 1);
      v_at := v_at + 1;
    elsif v_letter in ('*', '+', '?') or v_letter = '{' and v_rest ~ '^\{[0-9]+(,[0-9]*)?\}' then
      if v_kind = 'none' then
        return null;
      end if;
      v_parts := regexp_match(v_rest, '^([*+?]|\{([0-9]+)(,?)([0-9]*)\})(\??)');
      if v_letter = '{' then
        v_parts[2] := coalesce(nullif(ltrim(v_parts[2], '0'), ''), '0');
        v_parts[4] := case when v_parts[4] <> '' then coalesce(nullif(ltrim(v_parts[4], '0'), ''), '0') end;
        if v_parts[2]::numeric > v_parts[4]::numeric then
          return null;
        elsif greatest(v_parts[2]::numeric, v_parts[4]::numeric) > 255 then
          perform experiment._refuse_regex(_regex.pattern, 'repeats more than 255 times');
        end if;
      end if;
      if v_letter = '{' and v_parts[2] = '0' and coalesce(v_parts[4], v_parts[3]) in ('', '0')
        or v_kind = 'assertion' and (v_letter in ('*', '?') or v_parts[2] = '0')
      then
        v_result := left(v_result, v_start);
      elsif v_kind = 'atom' then
        v_result := v_result || case
          when v_letter <> '{' then v_letter
          else '{' || v_parts[2] || v_parts[3] || coalesce(v_parts[4], '') || '}'
        end;
      end if;
      v_kind := 'none';
      v_at := v_at + length(v_parts[1]) + length(v_parts[5]);
    elsif v_letter = '\' and v_rest ~ '^\\[bB]' then
      -- The same assertion twice is one; PostgreSQL's automaton would double with each.
      v_letter := case when substr(v_rest, 2, 1) = 'b' then '\y' else '\Y' end;
      if right(v_result, 2) <> v_letter then
        v_result := v_result || v_letter;
      end if;
      v_kind := 'none';
      v_at := v_at + 2;
    elsif v_letter = '\' and v_rest ~ '^\\(?:[1-9]|0[0-9])' or v_rest ~ '^\\k' and v_pattern ~ '\(\?<[A-Za-z_$]' then
      perform experiment._refuse_regex(_regex.pattern, 'refers back to a group or has an octal number');
    else
      if v_letter = '[' then
        select class.units, v_at + class.length into v_units, v_at
        from experiment._regex_class(_regex.pattern, substr(v_pattern, v_at), _regex.insensitive) as class;
        if v_units is null then
          return null;
        end if;
      elsif v_letter = '.' then
        v_units := experiment._unit_class('.');
        v_at := v_at + 1;
      elsif v_letter = '\' then
        if v_length = v_at then
          return null;
        end if;
        v_units := experiment._unit_class(substr(v_rest, 2, 1));
        if v_units is null or v_rest ~ '^\\\.' then
          select escape.unit, v_at + escape.length into v_unit, v_at
          from experiment._regex_escape(v_rest, false) as escape;
          v_units := experiment._one_unit(case
            when _regex.insensitive and v_unit > 0
              then experiment._unit_number(experiment._canonical(experiment._unit(v_unit)))
            else v_unit
          end);
        else
          v_at := v_at + 2;
        end if;
      else
        v_units := experiment._one_unit(experiment._unit_number(
          case when _regex.insensitive then experiment._canonical(v_letter) else v_letter end
        ));
        v_at := v_at + 1;
      end if;
      v_start := length(v_result);
      v_result := v_result || experiment._bracket(v_units);
      v_kind := 'atom';
    end if;
  end loop;
  return case when cardinality(v_stack) = 0 then v_result end;
end;
$$;

comment on function experiment._regex(text, boolean) is $$
Returns a regular expression of PostgreSQL that matches as one of JavaScript, null if JavaScript does not accept it.
Both are without captures, and the subject has a character for each code unit (`experiment._units`), in upper case if
the match is insensitive (`experiment._canonical`). Raises CF009 for references back to a group, octal numbers, more
than 255 repetitions, changes of flags and two groups of one name, CF008 for more than 1,000 characters.
$$;

grant execute on function experiment._regex(text, boolean)
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;

/*
 * Bounds that keep an expression below 0.1 s: PostgreSQL builds the automaton before it reads the text, and each
 * character of the text may visit all of it. An assertion is evaluated at each position, up to the end of the text.
 */
create or replace function experiment._check_regex(pattern text, regex text, text_length int)
returns void
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_work record;
begin
  -- Few parts that may be missing cannot exceed the bounds.
  if text_length <= 1000
    and length(pattern) <= 100
    and regex !~ '\(\?<?[=!]|\{'
    and regexp_count(regex, '[^(]\?|[*+]|\\[yY]') <= 5
  then
    return;
  end if;
  select work.arcs, work.states, work.assertions, work.depth
  into v_work
  from experiment._regex_work(regex) as work;
  if v_work.states > 2000 then
    perform experiment._refuse_regex(pattern, 'is too complex with its repetitions');
  elsif v_work.arcs > 10000 then
    perform experiment._refuse_regex(pattern, 'is too complex: many parts in a row may match without a character');
  elsif (v_work.states + v_work.arcs) * text_length > 2e7 then
    perform experiment._refuse_regex(pattern, format('is too complex for a text of %s characters', text_length));
  elsif v_work.assertions * text_length ^ (least(v_work.depth, 3) + 1) > 1e8 then
    perform experiment._refuse_regex(
      pattern, format('is too complex with its assertions for a text of %s characters', text_length)
    );
  end if;
end;
$$;

comment on function experiment._check_regex(text, text, integer) is $$
@behavior -*
Raises CF008 for a regular expression whose automaton is too large, or too large for the length of the text.
$$;

grant execute on function experiment._check_regex(text, text, integer)
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;

create or replace function experiment._matches(value text, pattern text, insensitive boolean)
returns boolean
language plpgsql
immutable
strict
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_regex text;
  v_value text;
begin
  if length(_matches.pattern) > 1000 then
    perform experiment._refuse_regex(_matches.pattern, 'has more than 1000 characters');
  end if;
  -- A pattern of plain characters needs no translation.
  if not _matches.insensitive and _matches.pattern ~ '^\^?[A-Za-z0-9 _/@:;,&=%#-]*\$?$' then
    return _matches.value ~ _matches.pattern collate "C";
  end if;
  v_regex := experiment._regex(_matches.pattern, _matches.insensitive);
  if v_regex is null then
    return false;
  end if;
  perform experiment._check_regex(_matches.pattern, v_regex, length(_matches.value));
  v_value := experiment._units(_matches.value);
  if _matches.insensitive then
    v_value := experiment._canonical(v_value);
  end if;
  return v_value ~ v_regex collate "C";
end;
$$;

comment on function experiment._matches(text, text, boolean) is $$
Returns whether a text matches a regular expression of JavaScript; one that JavaScript does not accept matches nothing.
PostgreSQL's automata need no backtracking: the work is the size of the automaton times the length of the text, and the
square of the length for an assertion such as `(?=…)`. Both are bounded before: CF008.
$$;

grant execute on function experiment._matches(text, text, boolean)
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;
