"""The networks that two or more examples share.

Each network is made by a function that returns a plain `Sequential`: what is built is what one
reads. One that takes more than images or noise, or gives more than one thing, is a class.
GENERATORS is what rebuilds a generator from the name and the arguments that a checkpoint holds.

In the order of reading: perceptron, dcgan, conditional, captions, goodfellow, began, unet, patch,
residual, biggan, waist, superresolution, progressive, autoencoders, classifier.
"""

from minigan.models.autoencoders import GaussianEncoder, LinearAutoencoder, vae_decoder
from minigan.models.began import Autoencoder, began_discriminator, began_generator
from minigan.models.biggan import BigGANDiscriminator, BigGANGenerator, DownBlock, UpBlock
from minigan.models.captions import CaptionDiscriminator, CaptionEncoder, CaptionGenerator
from minigan.models.classifier import image_classifier
from minigan.models.conditional import (
    ConditionalGenerator,
    JoinedDiscriminator,
    NamingDiscriminator,
    ProjectionDiscriminator,
)
from minigan.models.dcgan import dcgan_discriminator, dcgan_generator
from minigan.models.goodfellow import goodfellow_discriminator, goodfellow_generator
from minigan.models.patch import PatchDiscriminator
from minigan.models.perceptron import mlp
from minigan.models.progressive import (
    ProgressiveDiscriminator,
    ProgressiveGenerator,
    faded,
    shrunk,
)
from minigan.models.residual import ResidualBlock, residual_generator
from minigan.models.superresolution import SuperResolution
from minigan.models.unet import UNet
from minigan.models.waist import waist_generator

GENERATORS = {
    "began": began_generator,
    "biggan": BigGANGenerator,
    "conditional": ConditionalGenerator,
    "dcgan": dcgan_generator,
    "goodfellow_2014": goodfellow_generator,
    "vae": vae_decoder,
}
