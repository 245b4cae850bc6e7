"""How people ask for pictures, sounds, shapes and boxes, in Chinese: more routes of generator and detector.

Chinese writes no spaces, so that a phrase must not begin or end within a word: 画 is "draw", and 画面 "the
picture". Courtesies are therefore listed, and "draw" alone is an order only after one, or before a word that
makes it one (画出, 画一只). Media are spoken of as in :mod:`imagebind_llm.skills.tools.operands`.
"""

from typing import Any

from imagebind_llm.skills.tools.routes import Route

_HELP = "帮我|帮忙|给我|替我|为我"
_ASK = f"[请你|请|麻烦你|麻烦|你能不能|你能|你可以|能不能|能|可不可以|可以][{_HELP}][再]"
"""What may stand before an order."""
_ASKED = f"(请你|请|麻烦你|[请|请你|麻烦你|你能|你能不能|能|能不能|你可以|可以]({_HELP}))[再]"
"""What has to stand before one that would be no order alone."""
_END = "[，|,][呢|啊|呀|吗|吧|好吗|可以吗|行吗|好不好][，|,][谢谢|谢谢你]"

# --- making

_A = "[一下|一画][一张|一幅|一个|一段|一种|张|幅|个|段]"
_ONE = "一(只|条|头|匹|架|辆|艘|朵|棵|座|个|位|片|颗)"
_MAKE = f"(生成|制作|创作|创建|做|造|画|绘制|想象|我想要|我想看|我想听|想要|想看|想听|我要|给我看|来)[出]{_A}"
_BY = "(根据|按照|照着|按|依据|用)"
_INTO = "(变成|变为|转成|转换成|转换为|转为|做成|画成|生成)"
_KINDS = {
    "shape": (
        "(立体形状|三维形状|立体模型|三维模型|3D模型|3D形状|立体图形|模型|形状)",
        "这是做好的立体形状。",
    ),
    "sound": ("(声音|音频|录音|音效|叫声)", "这是做好的声音。"),
    "picture": ("(图片|图像|图画|照片|插图|素描|图|画)", "这是画好的图片。"),
}
"""Kind → words for it, and what is answered."""


def _pair(phrase: str, arguments: dict[str, Any], says: str = "{result}") -> tuple[Route, Route]:
    """A phrase in which ``{}`` is what is meant: attached media, or a description."""
    return (
        Route(phrase.replace("{}", "{of:media}"), {**arguments, "of": "{of}"}, says),
        Route(phrase.replace("{}", "{text:described}"), {**arguments, "text": "{text}"}, says),
    )


def _kind(kind: str) -> tuple[Route, ...]:
    """Wordings in which it is said what is to be made: 一张狗的图片, 把这个声音变成图片."""
    name, says = _KINDS[kind]
    return (
        *_pair(f"{_ASK}{_MAKE}{{}}的{name}{_END}", {"kind": kind}, says),
        Route(f"{_ASK}(把|将){{of:media}}{_INTO}{_A}{name}{_END}", {"kind": kind, "of": "{of}"}, says),
        *_pair(f"{_ASK}{_BY}{{}}[来](生成|制作|创作|做|画|绘制)[出]{_A}{name}{_END}", {"kind": kind}, says),
    )


_PICTURE, _DRAWN = {"kind": "picture"}, _KINDS["picture"][1]
GENERATOR_ROUTES = (
    *_kind("shape"),
    *_pair(
        f"{_ASK}(播放|放)[一段|一个|一下]{{}}的(声音|录音|叫声){_END}", {"kind": "sound"}, _KINDS["sound"][1]
    ),
    *_kind("sound"),
    *_kind("picture"),
    *_pair(f"{_ASK}(把|将){{}}(画出来|画下来|画成画){_END}", _PICTURE, _DRAWN),
    *_pair(f"{_ASK}(画出|绘制|绘出|描绘|画一下|画一画|画个|画张|画幅|画下){_A}{{}}{_END}", _PICTURE, _DRAWN),
    *_pair(f"{_ASKED}画{{}}{_END}", _PICTURE, _DRAWN),
    Route(f"{_ASK}画{_ONE}{{text:described}}{_END}", {**_PICTURE, "text": "{text}"}, _DRAWN),
    Route(f"画这(个|段|张|幅|种){{of:media}}{_END}", {**_PICTURE, "of": "{of}"}, _DRAWN),
    Route(f"画(这个|这些|这|那个|那些|它们|它)[东西]{_END}", _PICTURE, _DRAWN),
    Route(
        f"画[出](你|我)[所]{{of:media}}的[东西|声音|内容|图片|形状]{_END}", {**_PICTURE, "of": "{of}"}, _DRAWN
    ),
)

# --- finding

_PICTURES = "(图片|图像|图画|照片|相片|画面|场景|图|画)"
_INSIDE = "(里面|当中|之中|上面|里|中|上|内)"
_SCENE = f"[[在|从][这张|这幅|这个|那张|那幅|该]{_PICTURES}{_INSIDE}[的|有的]]"
_WHERE = "(哪里|哪儿|哪|什么地方|什么位置|哪个位置|哪个地方)"
_KNOW = "[请问|请告诉我|告诉我|你知道|你看到|你看见|你看]"
_OUT = "(找出来|标出来|圈出来|框出来|指出来|标记出来|找到|找出|标出|圈出|框出|指出)"
_FIND = "(找出|找到|找一下|找找|找|指出|标出|标记|圈出|框出|定位|检测出|检测一下|检测)"
_ZH = {"language": "zh"}
DETECTOR_ROUTES = (
    *_pair(f"{_KNOW}{_SCENE}{{}}在[{_PICTURES}{_INSIDE}[的]]{_WHERE}{_END}", _ZH),
    *_pair(f"{_ASK}(把|将){_SCENE}{{}}{_OUT}{_END}", _ZH),
    *_pair(f"{_KNOW}[你|我]{_SCENE}[在]{_WHERE}[能|可以](有|是|看到|看见)[了]{{}}{_END}", _ZH),
    *_pair(f"{_ASK}{_SCENE}{_FIND}[一下]{_SCENE}{{}}[在{_WHERE}]{_END}", _ZH),
)
