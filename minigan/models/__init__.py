"""The networks that two or more examples share.

Most networks are made by a function that returns a plain `Sequential`: what is built is what one
reads. GENERATORS is what rebuilds one from the name and the arguments that a checkpoint holds.

In the order of reading: perceptron, dcgan, captions, goodfellow, began, classifier.
"""

from minigan.models.began import Autoencoder, began_discriminator, began_generator
from minigan.models.captions import CaptionDiscriminator, CaptionEncoder, CaptionGenerator
from minigan.models.classifier import image_classifier
from minigan.models.dcgan import dcgan_discriminator, dcgan_generator
from minigan.models.goodfellow import goodfellow_discriminator, goodfellow_generator
from minigan.models.perceptron import mlp

GENERATORS = {
    "began": began_generator,
    "dcgan": dcgan_generator,
    "goodfellow_2014": goodfellow_generator,
}
