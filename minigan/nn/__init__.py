"""Layers: functions together with the parameters that they own.

In the order of reading: parameters, initialisers, module, layers, equalised, norms, attention,
minibatch.
"""

from minigan.nn.attention import SelfAttention
from minigan.nn.equalised import Equalised
from minigan.nn.initialisers import he, normal, orthogonal, uniform, xavier
from minigan.nn.layers import (
    ELU,
    AvgPool2d,
    Conv2d,
    ConvTranspose2d,
    Dropout,
    Embedding,
    Flatten,
    LeakyReLU,
    Linear,
    Maxout,
    MaxPool2d,
    ReflectionPad2d,
    ReLU,
    Reshape,
    Sigmoid,
    Softplus,
    Tanh,
    Upsample,
)
from minigan.nn.minibatch import MinibatchDiscrimination, MinibatchStd, Pack
from minigan.nn.module import Module, Sequential
from minigan.nn.norms import (
    BatchNorm,
    ConditionalBatchNorm,
    InstanceNorm,
    LayerNorm,
    PixelNorm,
    SpectralNorm,
)
from minigan.nn.parameters import FlatParameters, Parameter
