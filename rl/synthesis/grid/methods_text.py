"""How the methods and operators of strings and floats, and the built-in functions, are used: one form a line.

`method | kind of the value | source with holes | names for the value`. The notation is that of `forms.py`.
"""

STR = r"""
+ | str | {a:str} + {sep} + {b:str} | joined, label
+ | str | {str} + {piece} | extended, label
+ | str | {a:str}[0:2] + {b:str} | code, label
in | bool | {char} in {str} | has_letter
in | bool | {piece} in {str} | matches
in | bool | {a:str} in {b:str} | contained
not in | bool | {char} not in {str} | missing
not in | bool | {a:str} not in {b:str} | missing
== | bool | {a:str} == {b:str} | same
== | bool | {s:str+}[0] == {s}[-1] | same_ends
!= | bool | {a:str} != {b:str} | differs
!= | bool | {s:str+}[0] != {s}[-1] | open_ended
< | bool | {a:str} < {b:str} | comes_first
<= | bool | {a:str} <= {b:str} | in_order
> | bool | {a:str} > {b:str} | comes_later
>= | bool | {a:str} >= {b:str} | comes_later
[i] | str | {str+}[0] | first, initial
[i] | str | {str+}[-1] | last, ending
[i] | str | {s:str+}[{int} % len({s})] | letter, symbol
[a:b] | str | {str}[{small}:{num}] | middle, part
[a:b] | str | {str}[1:-1] | inner, core
[a:] | str | {str}[{small}:] | rest, tail
[a:] | str | {str}[{int}:] | rest, tail
[:b] | str | {str}[:{small}] | prefix, head
[:b] | str | {str}[:{int}] | prefix, head
[::k] | str | {str}[::-1] | backwards, mirrored
[::k] | str | {str}[::2] | sampled, every_other
len | int | len({str}) | length, size
* | str | {str} * {times} | repeated, pattern
* | str | {fill} * {int} | line, bar
capitalize | str | {str}.capitalize() | heading, label
casefold | str | {str}.casefold() | folded, normalized
center | str | {str}.center({width}, {fill}) | centered, banner
center | str | {str}.center({width}) | centered, banner
count | int | {str}.count({char}) | count, hits
count | int | {a:str}.count({b:str}) | count, hits
count | int | {s:str+}.count({s}[0]) | count, repeats
encode | bytes | {str}.encode() | encoded, data
encode | ints | list({str}.encode()) | codes, raw
encode | int | {str+}.encode()[0] | code, byte
endswith | bool | {str}.endswith({char}) | matches
endswith | bool | {str}.endswith(({x:char}, {y:char})) | matches
endswith | bool | {a:str}.endswith({b:str}) | matches
expandtabs | str | ({a:str} + "\t" + {b:str}).expandtabs({width}) | row, line
expandtabs | str | {str}.expandtabs({small}) | row, line
find | int | {str}.find({char}) | position, index
find | int | {str}.find({char}, {small}) | position, index
find | int | {a:str}.find({b:str}) | position, start
format | str | "{}-{}".format({a:str}, {b:int}) | label, entry
format | str | "{}: {}".format({a:str}, {b:str}) | label, entry
format | str | "{:>5}|".format({int}) | cell, column
format | str | "<{}>".format({str}) | tag, wrapped
index | int | {s:str+}.index({s}[-1]) | position, index
index | int | {s:str+}.index({c:str@s}) | position, index
isalnum | bool | {str}.isalnum() | is_valid
isalpha | bool | {str}.isalpha() | is_word
isascii | bool | {str}.isascii() | is_plain
isdecimal | bool | {str}.isdecimal() | is_number
isdigit | bool | {str}.isdigit() | is_number
isidentifier | bool | {str}.isidentifier() | is_valid
islower | bool | {str}.islower() | is_lower
isnumeric | bool | {str}.isnumeric() | is_number
isprintable | bool | {str}.isprintable() | is_clean
isspace | bool | {str}.isspace() | is_blank
isspace | bool | {str+}[-1].isspace() | ends_blank
istitle | bool | {str}.istitle() | is_title
isupper | bool | {str}.isupper() | is_upper
isupper | bool | {str+}[0].isupper() | is_proper
join | str | {sep}.join({words}) | joined, line
join | str | {sep}.join({str}) | spaced, spread
join | str | {sep}.join([{a:str}, {b:str}]) | joined, path
ljust | str | {str}.ljust({width}, {fill}) | padded, column
ljust | str | {str}.ljust({width}) | padded, column
lower | str | {str}.lower() | lowered, normalized
lstrip | str | {str}.lstrip() | trimmed, cleaned
lstrip | str | {str}.lstrip({char}) | trimmed, cleaned
lstrip | str | {s:str+}.lstrip({s}[0]) | trimmed, cleaned
maketrans | str | {str}.translate(str.maketrans({x:char}, {y:char})) | translated, coded
maketrans | str | {str}.translate(str.maketrans({x:char}, {y:char}, {z:char})) | translated, coded
partition | str | {str}.partition({sep})[0] | head, left
partition | str | {str}.partition({sep})[2] | tail, right
partition | texts | {str}.partition({char}) | pieces, halves
removeprefix | str | {str}.removeprefix({char}) | rest, stripped
removeprefix | str | {s:str}.removeprefix({s}[:2]) | rest, stripped
removesuffix | str | {str}.removesuffix({char}) | stem, stripped
removesuffix | str | {s:str}.removesuffix({s}[-2:]) | stem, stripped
replace | str | {str}.replace({x:char}, {y:char}) | replaced, changed
replace | str | {str}.replace({sep}, "") | compact, squeezed
replace | str | {str}.replace({x:char}, {y:char}, 1) | replaced, changed
rfind | int | {str}.rfind({char}) | position, last_index
rfind | int | {a:str}.rfind({b:str}) | position, last_index
rindex | int | {s:str+}.rindex({s}[0]) | position, last_index
rindex | int | {s:str+}.rindex({c:str@s}) | position, last_index
rjust | str | {str}.rjust({width}, {fill}) | padded, aligned
rjust | str | {str}.rjust({width}) | padded, aligned
rpartition | str | {str}.rpartition({sep})[2] | tail, right
rpartition | texts | {str}.rpartition({char}) | pieces, halves
rsplit | words | {str}.rsplit({sep}, 1) | parts, pieces
rsplit | words | {str}.rsplit() | parts, tokens
rstrip | str | {str}.rstrip() | trimmed, cleaned
rstrip | str | {str}.rstrip({char}) | trimmed, cleaned
rstrip | str | {s:str+}.rstrip({s}[-1]) | trimmed, cleaned
split | words | {str}.split({sep}) | parts, fields
split | words | {str}.split() | tokens, parts
split | words | {str}.split({sep}, 1) | parts, fields
splitlines | words | ({a:str} + "\n" + {b:str}).splitlines() | lines, rows
splitlines | words | {str}.splitlines() | lines, rows
startswith | bool | {str}.startswith({char}) | matches
startswith | bool | {a:str}.startswith({b:str}) | matches
startswith | bool | {str}.startswith(({x:char}, {y:char})) | matches
strip | str | {str}.strip() | stripped, cleaned
strip | str | {str}.strip({char}) | stripped, cleaned
swapcase | str | {str}.swapcase() | swapped, flipped
title | str | {str}.title() | heading, label
translate | str | {str}.translate({ord({x:char}): {y:char}}) | translated, coded
translate | str | {str}.translate({{code}: None}) | reduced, filtered
translate | str | {str}.translate({{code}: {y:char}}) | translated, coded
upper | str | {str}.upper() | upper, shouted
zfill | str | {str}.zfill({width}) | padded, code
"""

FLOAT = r"""
+ | float | {a:float} + {b:float} | combined, sum_of_both
+ | float | {float} + {decimal} | raised, shifted
- | float | {a:float} - {b:float} | difference, gap
- | float | {float} - {decimal} | lowered, rest
* | float | {float} * {decimal} | scaled, product
* | float | {float} * {int} | scaled, cost
/ | float | {float} / 2 | half, share
/ | float | {float} / 4 | quarter, share
// | float | {float} // {decimal} | steps_taken, whole
% | float | {float} % {decimal} | remainder, rest
% | float | {float} % {base} | remainder, rest
** | float | {float} ** 2 | squared, area
bool | bool | bool({float} - {decimal}) | nonzero
bool | bool | bool({float}) | nonzero
math.ceil | int | math.ceil({float}) | upper, whole
math.floor | int | math.floor({float}) | lower, whole
math.trunc | int | math.trunc({float}) | whole
divmod | tuplef | divmod({float}, {decimal}) | parts
divmod | float | divmod({float}, {decimal})[1] | remainder, rest
== | bool | {a:float} == {b:float} | same
!= | bool | {a:float} != {b:float} | differs
!= | bool | {float} != {decimal} | differs
< | bool | {a:float} < {b:float} | is_lower
< | bool | {float} < {decimal} | is_lower
<= | bool | {float} <= {decimal} | fits
> | bool | {a:float} > {b:float} | is_higher
> | bool | {float} > {decimal} | is_higher
>= | bool | {float} >= {decimal} | is_enough
int | int | int({float}) | whole, units
round | int | round({float}) | rounded, units
round | float | round({float}, 1) | rounded
abs | float | abs({a:float} - {b:float}) | gap, distance
abs | float | abs({float} - {decimal}) | gap, distance
as_integer_ratio | tuple | {float=}.as_integer_ratio() | ratio
as_integer_ratio | int | {float=}.as_integer_ratio()[0] | numerator
conjugate | float | {float}.conjugate() | mirrored
conjugate | float | ({float} + {decimal}).conjugate() | mirrored
conjugate | float | {float}.conjugate() * {times} | scaled
is_integer | bool | {float=}.is_integer() | is_whole
is_integer | bool | ({float} * {times}).is_integer() | is_whole
is_integer | bool | ({float} + {decimal}).is_integer() | is_whole
"""

BUILT_IN = r"""
abs | int | abs({a:int} - {b:int}) | gap, distance
abs | int | abs({int} - {num}) | gap, distance
all | bool | all({v} > {small} for {v} in {ints}) | all_large
all | bool | all({v} != {int} for {v} in {ints}) | all_distinct
all | bool | all({w} >= {char} for {w} in {words}) | all_after
any | bool | any({v} > {num} for {v} in {ints}) | any_large
any | bool | any({v} == {int} for {v} in {ints}) | found
any | bool | any({char} in {w} for {w} in {words}) | found
bin | str | bin({int})[2:] | bits, binary
chr | str | chr({letter_code} + {small}) | letter, symbol
chr | str | chr(ord({str+}[0]) + 1) | letter, symbol
divmod | tuple | divmod({int}, {base}) | quotient_and_rest
divmod | int | divmod({int}, {base})[1] | rest, leftover
divmod | int | divmod({int}, {base})[0] | quotient, rounds
enumerate | int | sum([{i} * {v} for {i}, {v} in enumerate({ints})]) | weighted
enumerate | ints | [{i} * {v} for {i}, {v} in enumerate({ints})] | weighted, shifted
enumerate | ints | [{i} for {i}, {w} in enumerate({words}) if {char} in {w}] | positions
enumerate | ints | [{v} for {i}, {v} in enumerate({ints}) if {i} % 2 == 0] | selected, sampled
enumerate | pairs | list(enumerate({words})) | numbered
enumerate | pairs | list(enumerate({ints}, {small})) | numbered
filter | ints | list(filter(lambda {v}: {v} > {int}, {ints})) | kept, large
filter | ints | list(filter(lambda {v}: {v} % 2 == 0, {ints})) | evens, kept
filter | ints | list(filter(None, {ints})) | kept, nonzero
filter | words | list(filter(lambda {w}: {char} in {w}, {words})) | kept, matching
int | int | int({digits}) + {int} | code, shifted
int | int | int({int} / 2) | half, middle
len | int | len({ints}) | size, length
len | int | len({words}) | size, length
len | int | len({str}) | size, length
list | words | list({str}) | letters, symbols
map | ints | list(map(lambda {v}: {v} * {times}, {ints})) | scaled, mapped
map | ints | list(map(lambda {v}: {v} + {int}, {ints})) | shifted, mapped
map | ints | list(map(len, {words})) | lengths, sizes
map | words | list(map(str.upper, {words})) | shouted, upper_words
map | words | list(map(str, {ints})) | labels, digits
max | int | max({ints+}) | largest, top
max | int | max({a:int}, {b:int}) | higher, larger
max | str | max({words+}) | last_word, final
max | str | max({words+}, key=len) | longest
min | int | min({ints+}) | smallest, lowest
min | int | min({a:int}, {b:int}) | lower, smaller
min | str | min({words+}) | first_word, earliest
min | str | min({words+}, key=len) | shortest
ord | int | ord({str+}[0]) | code
ord | int | ord({str+}[0]) - ord({char}) | offset, shift
ord | int | ord({s:str+}[-1]) - ord({s}[0]) | spread, shift
range | ints | list(range({small}, {num})) | steps, indices
range | ints | list(range({int})) | steps, indices
range | ints | [{i} * {int} for {i} in range({small})] | multiples
range | ints | [{i} ** 2 for {i} in range({small}, {num})] | squares
range | int | len(range({small}, {int}, 2)) | slots, stops
reversed | ints | list(reversed({ints})) | backwards, flipped
reversed | words | list(reversed({words})) | backwards, flipped
reversed | words | list(reversed({str})) | letters
reversed | tuple | tuple(reversed({tuple})) | flipped
round | int | round({int} / {base}) | rounded, share
round | int | round({float}) | rounded, units
set | set | set({ints}) | unique, distinct
sorted | ints | sorted({ints}) | ordered, ranked
sorted | ints | sorted({ints}, reverse=True) | ranked, descending
sorted | words | sorted({words}) | ordered, ranked
sorted | words | sorted({words}, key=len) | by_length
sorted | words | sorted({str}) | letters
sorted | ints | sorted({set}) | ordered
str | str | str({int}) + {piece} | label
str | str | str({int}) | digits, text_form
sum | int | sum({ints}) | total, amount
sum | int | sum([{v} for {v} in {ints} if {v} > {int}]) | large_total
sum | int | sum({v} * {v} for {v} in {ints}) | energy
sum | int | sum({tuple}) | total, amount
tuple | tuple | tuple({ints}) | frozen, fixed
zip | ints | [{v} * {u} for {v}, {u} in zip({a:ints}, {b:ints})] | products, pairwise
zip | ints | [{v} - {u} for {v}, {u} in zip({a:ints}, {a}[1:])] | differences, gaps
zip | dict | dict(zip({words}, {ints})) | lookup, table
zip | pairs | list(zip({words}, {ints})) | pairs, rows
zip | pairs | list(zip({a:ints}, {a}[1:])) | neighbours
zip | int | sum({v} * {u} for {v}, {u} in zip({a:ints}, {b:ints})) | dot
"""
