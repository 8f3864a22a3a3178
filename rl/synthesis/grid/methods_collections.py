"""How the methods and operators of lists, tuples, sets and dictionaries are used: one form a line.

`method | kind of the value | source with holes | names for the value`. A kind `do KIND` is a statement that changes
`{it}`, a variable of that kind; `do KIND once` is one that is not to be repeated on the same variable in a loop.
`L` and `E` stand for a list and its element, once with numbers and once with words. The notation is that of `forms.py`.
"""

LIST = r"""
+ | L | {a:L} + {b:L} | combined, merged
+ | L | {L} + [{E}] | extended, longer
+ | L | [{E}] + {L} | extended, longer
[i] | E | {L+}[0] | first, head
[i] | E | {L+}[-1] | last, final
[i] | E | {a:L+}[{int} % len({a})] | picked, chosen
[i] | E | {L+}[1] | second, other
[:] | L | {L}[:] | duplicate, snapshot
[:] | L | {L}[:] + [{E}] | duplicate, longer
[a:b] | L | {L}[{small}:{num}] | window, middle
[a:b] | L | {L}[1:-1] | inner, middle
[a:] | L | {L}[{small}:] | rest, tail
[a:] | L | {L}[{int}:] | rest, tail
[:b] | L | {L}[:{small}] | head, front
[:b] | L | {L}[:{int}] | head, front
[::k] | L | {L}[::-1] | backwards, flipped
[::k] | L | {L}[::2] | sampled, every_other
in | bool | {E} in {L} | found, present
not in | bool | {E} not in {L} | missing
== | bool | {a:L} == {b:L} | same
== | bool | {a:L} == {a}[::-1] | is_mirrored
== | bool | {a:L}[:2] == {b:L}[:2] | same_start
!= | bool | {a:L} != {b:L} | differs
!= | bool | {a:L} != {a}[::-1] | differs
< | bool | {a:L} < {b:L} | comes_first
< | bool | {a:L}[1:] < {a} | is_falling
<= | bool | {a:L} <= {b:L} | in_order
> | bool | {a:L} > {b:L} | comes_later
> | bool | {a:L}[1:] > {a} | is_rising
>= | bool | {a:L} >= {b:L} | comes_later
* | L | {L} * 2 | doubled, repeated
* | L | [{E}] * {times} | padding, filler
*= | do L once | {it} *= 2
+= | do L | {it} += [{E}]
len | int | len({L}) | size, length
reversed | L | list(reversed({L})) | backwards, flipped
append | do L | {it}.append({E})
clear | do L once | {it}.clear(); {it} += [{E}]
clear | do L once | {it}.clear(); {it} += {L}
copy | L | {L}.copy() | duplicate, snapshot
copy | L | {L}.copy() + [{E}] | duplicate, longer
count | int | {L}.count({E}) | count, hits
count | int | {a:L+}.count({a}[0]) | repeats, count
extend | do L | {it}.extend([{x:E}, {y:E}])
extend | do L once | {it}.extend({L})
index | int | {a:L+}.index({a}[-1]) | position, index
index | int | {a:L+}.index({c:E@a}) | position, index
index | int | {a:L+}.index(max({a})) | position, index
insert | do L | {it}.insert(0, {E})
insert | do L | {it}.insert({small}, {E})
pop | E | {it:L!+}.pop() | last, top
pop | E | {it:L!+}.pop(0) | first, front
remove | do L once | {it+}.remove({it}[0])
remove | do L once | {it+}.remove({it}[-1])
reverse | do L once | {it}.reverse()
sort | do L once | {it}.sort()
sort | do L once | {it}.sort(reverse=True)
"""

TUPLE = r"""
+ | tuple | {a:tuple} + {b:tuple} | combined, joined
+ | tuple | {tuple} + ({int},) | extended, longer
[i] | int | {tuple+}[0] | first, start
[i] | int | {tuple+}[1] | second, middle
[i] | int | {tuple+}[-1] | last, end
[i] | int | {a:tuple+}[{int} % len({a})] | picked, chosen
[a:b] | tuple | {tuple}[{small}:{num}] | window, part
[a:b] | tuple | {tuple}[1:-1] | inner, core
[a:] | tuple | {tuple}[{small}:] | rest, tail
[:b] | tuple | {tuple}[:{small}] | head, front
[:b] | tuple | {tuple}[:{int}] | head, front
[::k] | tuple | {tuple}[::-1] | backwards, flipped
[::k] | tuple | {tuple}[::2] | sampled
in | bool | {int} in {tuple} | found, present
not in | bool | {int} not in {tuple} | missing
== | bool | {a:tuple} == {b:tuple} | same
== | bool | {a:tuple} == {a}[::-1] | is_mirrored
!= | bool | {a:tuple} != {b:tuple} | differs
!= | bool | {a:tuple} != {a}[::-1] | differs
< | bool | {a:tuple} < {b:tuple} | comes_first
<= | bool | {a:tuple} <= {b:tuple} | in_order
> | bool | {a:tuple} > {b:tuple} | comes_later
> | bool | {a:tuple}[1:] > {a} | is_rising
>= | bool | {a:tuple} >= {b:tuple} | comes_later
len | int | len({tuple}) | size, length
* | tuple | {tuple} * 2 | doubled, repeated
* | tuple | ({int},) * {times} | padding, filler
count | int | {tuple}.count({int}) | count, hits
count | int | {a:tuple+}.count({a}[0]) | repeats, count
index | int | {a:tuple+}.index({a}[-1]) | position, index
index | int | {a:tuple+}.index({c:int@a}) | position, index
"""

SET = r"""
& | set | {a:set} & {b:set} | common, shared
& | set | {set} & {numbers} | common, shared
| | set | {a:set} | {b:set} | everything, union
| | set | {set} | {{int}} | extended, larger
- | set | {a:set} - {b:set} | rest, difference
- | set | {set} - {{int}} | rest, others
^ | set | {a:set} ^ {b:set} | exclusive, unshared
^ | set | {set} ^ {numbers} | exclusive, unshared
&= | do set once | {it} &= {set}
&= | do set once | {it} &= {numbers}
|= | do set | {it} |= {{int}}
|= | do set | {it} |= {set}
-= | do set once | {it} -= {{int}}
-= | do set once | {it} -= {set}
^= | do set once | {it} ^= {numbers}
^= | do set once | {it} ^= {set}
in | bool | {int} in {set} | found, present
not in | bool | {int} not in {set} | missing
== | bool | {a:set} == {b:set} | same
!= | bool | {a:set} != {b:set} | differs
< | bool | {a:set} < {b:set} | is_part
< | bool | {{int}} < {set} | is_part
<= | bool | {a:set} <= {b:set} | is_covered
<= | bool | {{int}} <= {set} | is_covered
> | bool | {a:set} > {b:set} | covers
>= | bool | {set} >= {{x:int}, {y:int}} | covers
len | int | len({set}) | size, variety
add | do set | {it}.add({int})
clear | do set once | {it}.clear(); {it} |= {{int}}
clear | do set once | {it}.clear(); {it} |= {set}
copy | set | {set}.copy() | duplicate, snapshot
copy | set | {set}.copy() - {{int}} | others, duplicate
difference | set | {a:set}.difference({b:set}) | rest, leftover
difference | set | {set}.difference({ints}) | rest, leftover
difference_update | do set once | {it}.difference_update({set})
difference_update | do set once | {it}.difference_update([{x:int}, {y:int}])
discard | do set | {it}.discard({int})
intersection | set | {a:set}.intersection({b:set}) | common, shared
intersection | set | {set}.intersection({ints}) | common, shared
intersection_update | do set once | {it}.intersection_update({set})
intersection_update | do set once | {it}.intersection_update({numbers})
isdisjoint | bool | {a:set}.isdisjoint({b:set}) | is_separate
isdisjoint | bool | {set}.isdisjoint([{x:int}, {y:int}]) | is_separate
issubset | bool | {a:set}.issubset({b:set}) | is_covered
issubset | bool | {{int}}.issubset({set}) | is_covered
issuperset | bool | {a:set}.issuperset({b:set}) | covers
issuperset | bool | {set}.issuperset([{int}]) | covers
pop | int | {it:set!+}.pop() | taken, picked
remove | do set once | {it}.remove({c:int@it})
symmetric_difference | set | {a:set}.symmetric_difference({b:set}) | exclusive, unshared
symmetric_difference | set | {set}.symmetric_difference({ints}) | exclusive, unshared
symmetric_difference_update | do set once | {it}.symmetric_difference_update({set})
symmetric_difference_update | do set once | {it}.symmetric_difference_update({numbers})
union | set | {a:set}.union({b:set}) | everything, merged
union | set | {set}.union([{int}]) | extended, merged
update | do set | {it}.update([{x:int}, {y:int}])
update | do set | {it}.update({set})
"""

DICT = r"""
in | bool | {str} in {dict} | known, listed
not in | bool | {str} not in {dict} | unknown
d[k] | int | {d:dict}[{c:str@d}] | current, looked_up
d[k] | int | {d:dict}[{c:str@d}] + {int} | raised, adjusted
d[k] | int | {d:dict}[{c:str@d}] * {times} | scaled, doubled
d[k] | int | {d:dict}[{c:str@d}] - {small} | lowered, adjusted
== | bool | {a:dict} == {b:dict} | same
!= | bool | {a:dict} != {b:dict} | differs
| | dict | {a:dict} | {b:dict} | combined, merged
| | dict | {dict} | {{str}: {int}} | extended, merged
|= | do dict | {it} |= {{str}: {int}}
|= | do dict | {it} |= {dict}
d[k]=v | do dict | {it}[{str}] = {int}
len | int | len({dict}) | size, entries
clear | do dict once | {it}.clear(); {it}[{str}] = {int}
copy | dict | {dict}.copy() | duplicate, snapshot
fromkeys | dict | dict.fromkeys({words}, {small}) | defaults, table
fromkeys | dict | dict.fromkeys({words}, {int}) | defaults, table
fromkeys | dict | dict.fromkeys({str}, {int}) | defaults, table
get | int | {dict}.get({str}, {small}) | current, looked_up
get | int | {dict}.get({str}, 0) | current, looked_up
items | pairs | list({dict}.items()) | entries, rows
items | pairs | sorted({dict}.items()) | entries, rows
items | words | [{k} for {k}, {n} in {dict}.items() if {n} > {int}] | high_keys, selected
items | dict | {{k}: {n} + {int} for {k}, {n} in {dict}.items()} | raised, adjusted
keys | words | list({dict}.keys()) | keys, labels
keys | words | sorted({dict}.keys()) | keys, labels
pop | int | {it:dict!}.pop({str}, 0) | removed, taken
pop | int | {it:dict!}.pop({c:str@it}) | removed, taken
popitem | pair | {it:dict!+}.popitem() | last_entry
popitem | int | {it:dict!+}.popitem()[1] | last_value
popitem | str | {it:dict!+}.popitem()[0] | last_key
setdefault | int | {it:dict!}.setdefault({str}, {small}) | current, looked_up
setdefault | do dict | {it}.setdefault({str}, {int})
update | do dict | {it}.update({{str}: {int}})
update | do dict | {it}.update({dict})
values | ints | list({dict}.values()) | amounts, figures
values | ints | sorted({dict}.values()) | amounts, figures
values | int | sum({dict}.values()) | total, amount
"""

PLAIN = r"""
 | int | {a:int=} + {b:int} | combined
 | int | {a:int=} - {b:int} | gap
 | int | {int=} * {times} | scaled
 | int | {int=} - {small} | lowered
 | int | {int=} + {small} | raised
 | int | {int=} % {base} | rest
 | int | {int=} // 2 | half
 | bool | {int=} > {num} | is_high
 | bool | {a:int=} > {b:int} | is_higher
 | bool | {int=} % 2 == 0 | is_even
 | bool | {int=} < {num} | is_low
 | str | f"{{a:str=}}-{{b:int=}}" | label
 | str | f"{{a:str=}}:{{b:str=}}" | label
 | str | {str}[1:] | rest, tail
 | str | {str}[:-1] | shorter, head
 | str | {str} + {piece} | extended
 | ints | {ints}[1:] | rest, tail
 | ints | {ints}[::-1] | flipped
 | ints | {ints} + [{int}] | longer
 | words | {words}[1:] | rest, tail
 | words | {words} + [{str}] | longer
 | tuple | {tuple}[1:] | rest
 | tuple | {tuple} + ({int},) | longer
 | set | {set} | {numbers} | larger
 | set | {set} - {{int}} | others
 | dict | {dict} | {{str}: {int}} | extended
 | float | {float} * 2 | doubled
 | float | {float} - {decimal} | lowered
"""
