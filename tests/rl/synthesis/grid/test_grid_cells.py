from collections import Counter

import pytest

from rl.synthesis.grid import CONFIGURATIONS, cells

DICT = "in,not in,d[k],len,!=,|,d[k]=v,clear,copy,fromkeys,get,items,keys,pop,popitem,setdefault,update,values"
LIST = "+,[i],[:],[a:b],[a:],[:b],in,not in,==,>=,>,<,*=,len,*,!=,reversed,append,clear,copy,count,extend,index,insert,pop"
SET = "&,in,not in,==,>=,>,&=,|=,-=,^=,<=,len,<,!=,-,^,add,clear,copy,difference,difference_update,discard,intersection"
PUBLISHED = {
    "dict": DICT,
    "list": LIST + ",remove,reverse,sort",
    "set": SET + ",intersection_update,isdisjoint,issubset,issuperset,pop,remove,symmetric_difference,union,update",
    "tuple": "+,[i],in,not in,len,*,!=,count,index",
    "float": "+,bool,math.ceil,divmod,math.floor,-,int,%,round,as_integer_ratio,conjugate,is_integer",
    "built-in": "enumerate,filter,range,reversed,zip",
}


def test_six_configurations_as_published():
    shape = [(found.number, found.others, found.chain, found.depth) for found in CONFIGURATIONS]
    assert shape == [
        (1, False, False, 0),
        (2, True, False, 0),
        (3, True, False, 1),
        (4, True, False, 2),
        (5, True, False, 3),
        (6, True, True, 3),
    ]


@pytest.mark.parametrize("unit", PUBLISHED)
def test_every_published_method_is_in_the_grid(unit):
    ours = {cell.method for cell in cells() if cell.unit == unit}
    assert set(PUBLISHED[unit].split(",")) <= ours


def test_every_useful_string_method_is_in_the_grid():
    ours = {cell.method for cell in cells() if cell.unit == "str"}
    public = {name for name in dir(str) if not name.startswith("_")}
    assert public - ours == {"format_map"}


def test_cells_differ_and_each_configuration_has_the_same_methods():
    assert len(set(cells())) == len(cells())
    assert set(Counter(cell.configuration.number for cell in cells()).values()) == {len(cells()) // 6}
