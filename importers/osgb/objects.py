"""The objects of an OSGB scene: which classes there are, what each is made of, in which file version.

An object is its class name, an id that is unique in the file, and the property lists of its base classes in order. Property lists
follow OpenSceneGraph's ``osgWrappers/serializers/osg``. Classes not known here are skipped where the file has sizes (brackets) and
refused where it has none, since nobody could tell where they end.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np

from importers.osgb import arrays, state
from importers.osgb.arrays import ARRAY_CLASSES, ELEMENT_CLASSES, Array
from importers.osgb.image import Image, read_image
from importers.osgb.scene import ArrayItem, Geometry, Item, Lod, Material, Node, PrimitivesItem, StateSet, Texture
from importers.osgb.stream import Stream
from tim.errors import CorruptSource
from tim.geometry import composed

_DEEPEST = 200
_LARGEST = 100_000
"""Objects of a scene with everything shared counted where it is used."""
_VEC3D_AND_RADIUS = struct.Struct("<4d")
_RANGE = struct.Struct("<2f")
_MATRIX = struct.Struct("<16d")
_POSITION_ATTITUDE = struct.Struct("<13d")


def read_scene(data: bytes | memoryview, name: str) -> Item | None:
    """The root object of an OSGB file. Arrays and embedded images are views into ``data``.

    Raises CorruptSource, and nothing else, whatever the bytes are.
    """
    reader: SceneReader | None = None
    try:
        reader = SceneReader(Stream(data, name))
        return reader.object()
    except (struct.error, IndexError) as error:
        raise CorruptSource("osgb.truncated", file=name, offset=reader.stream.pos if reader else len(data)) from error
    except (ValueError, OverflowError, MemoryError, RecursionError, zlib.error) as error:
        raise CorruptSource("osgb.garbled", file=name, offset=reader.stream.pos if reader else 0) from error


class SceneReader:
    """Reads objects from a stream and remembers them by id."""

    __slots__ = ("arrays", "images", "open", "seen", "stream")

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.seen: dict[int, Item] = {}
        self.images: dict[int, Image] = {}
        self.arrays: dict[int, Any] = {}
        self.open: set[int] = set()
        """Ids of the objects being read."""

    def object(self) -> Item | None:
        """The next object; ``None`` where the file has none."""
        stream = self.stream
        start = stream.pos
        kind = stream.string()
        if kind == "NULL":
            return None
        end = stream.begin()
        identity = stream.u32()
        known = self.seen.get(identity)
        if known is not None:
            if identity in self.open:
                stream.fail("cycle")
            return known
        entry = _CLASSES.get(kind)
        if entry is None:
            if not stream.brackets or not stream.pos <= end <= len(stream.data):
                raise CorruptSource("osgb.unknown-class", file=stream.name, offset=start, name=kind[:60])
            stream.pos = end
            item = self.seen[identity] = Item(kind)
            return item
        make, properties = entry
        item = self.seen[identity] = make(kind)
        self.open.add(identity)
        if len(self.open) > _DEEPEST:
            stream.fail("too-deep")
        for read in properties:
            read(self, item)
        self.open.remove(identity)
        if isinstance(item, Node):
            item.expanded += sum(child.expanded if isinstance(child, Node) else 1 for child in item.children)
            if item.expanded > _LARGEST:
                stream.fail("too-many", count=item.expanded)
        if stream.pos < end <= len(stream.data):
            stream.pos = end  # properties of a newer writer
        return item

    def optional(self) -> Item | None:
        """A flag, then an object where it is set."""
        return self.object() if self.stream.flag() else None

    def objects(self, count: int) -> list[Item | None]:
        """The next ``count`` objects."""
        return [self.object() for _ in range(count)]

    def image(self) -> Image | None:
        """An image: the one thing written without brackets, and with the properties of Object only."""
        stream = self.stream
        if stream.version > 94:
            stream.string()
        identity = stream.u32()
        known = self.images.get(identity)
        if known is not None:
            return known
        image = self.images[identity] = read_image(stream)
        _object(self, None)
        return image


Property = Callable[[SceneReader, Any], None]


def _object(reader: SceneReader, _: Any) -> None:
    stream = reader.stream
    stream.string()
    stream.i32()
    if stream.version > 76:
        reader.optional()
    elif stream.flag():
        stream.begin()
        reader.object()


def _node(reader: SceneReader, item: Any) -> None:
    stream = reader.stream
    if stream.flag():
        stream.begin()
        stream.skip(32)
    for _ in range(4):
        reader.optional()
    stream.skip(5)  # culling active, node mask
    if stream.version <= 76 and stream.flag():
        size = stream.count(4)
        stream.begin()
        for _ in range(size):
            stream.string()
    item.state = _state(reader)


def _state(reader: SceneReader) -> StateSet | None:
    state = reader.optional()
    return state if isinstance(state, StateSet) else None


def _children(reader: SceneReader, item: Node) -> None:
    stream = reader.stream
    if stream.flag():
        size = stream.count(4)
        if size:
            stream.begin()
            item.children = [child for child in reader.objects(size) if child is not None]


def _always_bracketed_children(reader: SceneReader, item: Node) -> None:
    stream = reader.stream
    if stream.flag():
        size = stream.count(4)
        stream.begin()
        item.children = [child for child in reader.objects(size) if child is not None]


def _lod(reader: SceneReader, item: Lod) -> None:
    stream = reader.stream
    item.center_mode = stream.i32()
    if stream.flag():
        *center, item.radius = stream.unpack(_VEC3D_AND_RADIUS)
        item.center = (center[0], center[1], center[2])
    item.range_mode = stream.i32()
    if stream.flag():
        size = stream.count(_RANGE.size)
        stream.begin()
        item.ranges = [(low, high) for low, high in (stream.unpack(_RANGE) for _ in range(size))]


def _paged_lod(reader: SceneReader, item: Lod) -> None:
    stream = reader.stream
    if stream.flag() and stream.flag():
        item.database_path = stream.string()
    if stream.version <= 69:
        stream.u32()
    stream.skip(5)  # children that never expire, paging disabled
    if stream.flag():
        size = stream.count(4)
        stream.begin()
        item.files = [stream.string() for _ in range(size)]
        size = stream.count(_RANGE.size)
        stream.begin()
        stream.skip(size * _RANGE.size)
    _children(reader, item)


def _matrix(reader: SceneReader, item: Node) -> None:
    reader.stream.begin()
    item.matrix = np.array(reader.stream.unpack(_MATRIX)).reshape(4, 4)


def _position_attitude(reader: SceneReader, item: Node) -> None:
    values = np.array(reader.stream.unpack(_POSITION_ATTITUDE))
    position, turn, scale, pivot = values[:3], values[3:7], values[7:10], values[10:]
    # Row vectors: shift by -pivot, scale, rotate by the unit quaternion, move to position.
    matrix = composed(np.zeros((1, 3)), turn[None], scale[None])[0].T
    matrix[3, :3] = position - pivot @ matrix[:3, :3]
    item.matrix = matrix


def _drawable_node(reader: SceneReader, item: Any) -> None:
    if reader.stream.version >= 154:
        _node(reader, item)


def _drawable(reader: SceneReader, item: Any) -> None:
    stream = reader.stream
    old = stream.version <= 155
    if old:
        item.state = _state(reader)
    if stream.flag():
        stream.begin()
        stream.skip(48)
    reader.optional()
    reader.optional()
    stream.skip(3)
    if old:
        for _ in range(4):
            reader.optional()
    if stream.version >= 142:
        stream.u32()
    if stream.version >= 145:
        stream.flag()


def _geometry(reader: SceneReader, item: Geometry) -> None:
    stream = reader.stream
    if stream.version < 112:
        item.primitives = [arrays.read_inline_primitives(stream) for _ in range(stream.count(12))]
        item.vertices, item.normals, item.colors = (_inline_data(reader) for _ in range(3))
        _inline_data(reader)  # secondary colours
        _inline_data(reader)  # fog coordinates
        item.texcoords = _inline_list(reader)
        _inline_list(reader)  # attributes of shaders
        stream.flag()  # a hint that has no body
        return
    sets = reader.objects(stream.count(4))
    item.primitives = [s.primitives for s in sets if isinstance(s, PrimitivesItem) and s.primitives is not None]
    item.vertices, item.normals, item.colors = (_array(reader.optional()) for _ in range(3))
    reader.optional()
    reader.optional()
    item.texcoords = [_array(a) for a in reader.objects(stream.count(4))]
    reader.objects(stream.count(4))


def _inline_data(reader: SceneReader) -> Array | None:
    return arrays.read_inline_data(reader.stream, reader.arrays) if reader.stream.flag() else None


def _inline_list(reader: SceneReader) -> list[Array | None]:
    stream = reader.stream
    if not stream.flag():
        return []
    size = stream.count(4)
    stream.begin()
    return [arrays.read_inline_data(stream, reader.arrays) for _ in range(size)]


def _array(item: Item | None) -> Array | None:
    return item.array if isinstance(item, ArrayItem) else None


def _array_object(reader: SceneReader, item: ArrayItem) -> None:
    stream = reader.stream
    binding, normalize = stream.i32(), stream.flag()
    stream.flag()
    dtype, width = ARRAY_CLASSES[item.kind]
    values = stream.array(dtype, stream.count(dtype.itemsize * width), width)
    item.array = Array(values, arrays.PER_VERTEX if binding < 0 else binding, normalize)


def _buffer_data(reader: SceneReader, _: Any) -> None:
    if reader.stream.version >= 147:
        reader.optional()


def _primitive_set(reader: SceneReader, item: PrimitivesItem) -> None:
    reader.stream.i32()
    item.mode = reader.stream.i32()


def _draw_elements(reader: SceneReader, item: PrimitivesItem) -> None:
    item.primitives = arrays.draw_elements(reader.stream, item.mode, ELEMENT_CLASSES[item.kind])


def _draw_arrays(reader: SceneReader, item: PrimitivesItem) -> None:
    item.primitives = arrays.draw_arrays(reader.stream, item.mode)


def _draw_array_lengths(reader: SceneReader, item: PrimitivesItem) -> None:
    item.primitives = arrays.draw_array_lengths(reader.stream, item.mode)


def _fixed(size: int) -> Property:
    """Properties of no use to us that always take ``size`` bytes."""

    def read(reader: SceneReader, _: Any) -> None:
        reader.stream.skip(size)

    return read


def _callback(reader: SceneReader, _: Any) -> None:
    reader.optional()


def _coordinate_system(reader: SceneReader, _: Any) -> None:
    reader.stream.string()
    reader.stream.string()
    reader.optional()


def _switch(reader: SceneReader, _: Any) -> None:
    stream = reader.stream
    stream.flag()
    if size := stream.count(1):
        stream.begin()
        stream.skip(size)


def _buffer_object(reader: SceneReader, _: Any) -> None:
    reader.stream.skip(9 if reader.stream.version < 201 else 13)


def _user_data(reader: SceneReader, _: Any) -> None:
    stream = reader.stream
    if stream.flag():
        stream.begin()
        reader.object()
    if stream.flag():
        size = stream.count(4)
        stream.begin()
        for _ in range(size):
            stream.string()
    if stream.flag():
        size = stream.count(4)
        stream.begin()
        reader.objects(size)


def _string(reader: SceneReader, _: Any) -> None:
    reader.stream.string()


def _uniform(reader: SceneReader, _: Any) -> None:
    stream = reader.stream
    stream.skip(8)
    if stream.flag() and stream.flag():
        if stream.version < 112:
            arrays.read_inline(stream, reader.arrays)
        else:
            reader.object()
    reader.optional()
    reader.optional()


_ATTRIBUTE = (_object, state.callbacks)
_DRAWABLE = (_object, _drawable_node, _drawable)
_PRIMITIVES = (_object, _buffer_data, _primitive_set)
_GROUP = (_object, _node, _always_bracketed_children)

_CLASSES: dict[str, tuple[Callable[[str], Item], tuple[Property, ...]]] = {
    "osg::Node": (Node, (_object, _node)),
    "osg::Group": (Node, _GROUP),
    "osg::Transform": (Node, (*_GROUP, _fixed(4))),
    "osg::MatrixTransform": (Node, (*_GROUP, _fixed(4), _matrix)),
    "osg::PositionAttitudeTransform": (Node, (*_GROUP, _fixed(4), _position_attitude)),
    "osg::CoordinateSystemNode": (Node, (*_GROUP, _coordinate_system)),
    "osg::Switch": (Node, (*_GROUP, _switch)),
    "osg::LOD": (Lod, (*_GROUP, _lod)),
    "osg::PagedLOD": (Lod, (_object, _node, _lod, _paged_lod)),
    "osg::Geode": (Node, (_object, _node, _always_bracketed_children)),
    "osg::Geometry": (Geometry, (*_DRAWABLE, _geometry)),
    "osg::StateSet": (StateSet, (_object, state.state_set)),
    "osg::Texture2D": (Texture, (*_ATTRIBUTE, state.texture, state.texture_2d)),
    "osg::Material": (Material, (*_ATTRIBUTE, state.material)),
    "osg::TexEnv": (Item, (*_ATTRIBUTE, _fixed(20))),
    "osg::TexMat": (Item, (*_ATTRIBUTE, lambda reader, _: _matrix(reader, Node("")), _fixed(1))),
    "osg::BlendFunc": (Item, (*_ATTRIBUTE, _fixed(16))),
    "osg::AlphaFunc": (Item, (*_ATTRIBUTE, _fixed(8))),
    "osg::CullFace": (Item, (*_ATTRIBUTE, _fixed(4))),
    "osg::FrontFace": (Item, (*_ATTRIBUTE, _fixed(4))),
    "osg::ShadeModel": (Item, (*_ATTRIBUTE, _fixed(4))),
    "osg::LineWidth": (Item, (*_ATTRIBUTE, _fixed(4))),
    "osg::ColorMask": (Item, (*_ATTRIBUTE, _fixed(4))),
    "osg::Depth": (Item, (*_ATTRIBUTE, _fixed(21))),
    "osg::PolygonOffset": (Item, (*_ATTRIBUTE, _fixed(8))),
    "osg::PolygonMode": (Item, (*_ATTRIBUTE, state.polygon_mode)),
    "osg::LightModel": (Item, (*_ATTRIBUTE, _fixed(22))),
    "osg::Uniform": (Item, (_object, _uniform)),
    "osg::Callback": (Item, (_object, _callback)),
    "osg::NodeCallback": (Item, (_object, _callback)),
    "osg::EllipsoidModel": (Item, (_object, _fixed(16))),
    "osg::BufferObject": (Item, (_object, _buffer_object)),
    "osg::VertexBufferObject": (Item, (_object, _buffer_object)),
    "osg::ElementBufferObject": (Item, (_object, _buffer_object)),
    "osg::DefaultUserDataContainer": (Item, (_object, _user_data)),
    "osg::StringValueObject": (Item, (_object, _string)),
    **{
        f"osg::{name}ValueObject": (Item, (_object, _fixed(size)))
        for name, size in (
            ("Bool", 1), ("Char", 1), ("UChar", 1), ("Short", 2), ("UShort", 2), ("Int", 4), ("UInt", 4), ("Float", 4),
            ("Double", 8), ("Vec2f", 8), ("Vec3f", 12), ("Vec4f", 16), ("Vec2d", 16), ("Vec3d", 24), ("Vec4d", 32),
        )
    },
    **dict.fromkeys(ARRAY_CLASSES, (ArrayItem, (_object, _buffer_data, _array_object))),
    **dict.fromkeys(ELEMENT_CLASSES, (PrimitivesItem, (*_PRIMITIVES, _draw_elements))),
    "osg::DrawArrays": (PrimitivesItem, (*_PRIMITIVES, _draw_arrays)),
    "osg::DrawArrayLengths": (PrimitivesItem, (*_PRIMITIVES, _draw_array_lengths)),
}  # fmt: skip
"""Class name to what is made of it and its property lists, base class first."""
